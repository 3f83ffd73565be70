-- The engine's fence and its locks in one call instead of two. The epoch becomes a key: to take the lease over
-- changes the key and so waits for whoever holds the fence, to renew it does not and waits for nobody.
ALTER TABLE lease ADD UNIQUE (epoch);

-- Hold the lease, and lock and read assignments as locked_assignments() does, for who holds the lease in this
-- epoch. Any other is refused with the code JL001.
CREATE FUNCTION fenced_assignments(epoch_held bigint, wanted bigint[]) RETURNS SETOF whole_assignment
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM FROM lease WHERE epoch = epoch_held FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'epoch % is over: another engine has the lease', epoch_held USING ERRCODE = 'JL001';
    END IF;
    RETURN QUERY SELECT * FROM locked_assignments(wanted);
END
$$;
REVOKE ALL ON FUNCTION fenced_assignments FROM PUBLIC;
GRANT EXECUTE ON FUNCTION fenced_assignments TO :app;
