-- An engine that is frozen inside a transaction holds the lease's row, and keeps the standby out. The server ends
-- its session after three seconds, so that the row is free when the lease has run out (four seconds, by default).
CREATE OR REPLACE FUNCTION fenced_assignments(epoch_held bigint, wanted bigint[]) RETURNS SETOF whole_assignment
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM set_config('idle_in_transaction_session_timeout', '3s', true);
    PERFORM FROM lease WHERE epoch = epoch_held FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'epoch % is over: another engine has the lease', epoch_held USING ERRCODE = 'JL001';
    END IF;
    RETURN QUERY SELECT * FROM locked_assignments(wanted);
END
$$;
