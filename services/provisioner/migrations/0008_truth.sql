-- What is known of an assignment: whether an operation of ours explains it, until when one that nobody can
-- follow may come true, and whether it came back. And stops of all access of a user or on an account.
-- The view is made anew, and with it the functions that answer its rows.

DROP FUNCTION fenced_assignments(bigint, bigint[]);
DROP FUNCTION locked_assignments(bigint[]);
DROP VIEW whole_assignment;

ALTER TABLE assignment RENAME COLUMN ever_operated TO ours;   -- AWS took, or may have taken, an operation of ours
ALTER TABLE assignment
    ADD COLUMN creating_until timestamptz,                    -- a creation nobody can follow may come true until
    ADD COLUMN put_off        integer NOT NULL DEFAULT 0,     -- "not now" from AWS, in a row
    ADD COLUMN reappeared     boolean NOT NULL DEFAULT false; -- there again after it was verified gone

CREATE VIEW whole_assignment AS
SELECT
    a.id, a.instance, a.user_id, a.account_id, a.set_id, a.set_arn, a.desired, a.observed, a.op_kind,
    a.op_request_id, a.op_started, a.request_id, a.deletion_id, a.deletion_ended, a.creating_until, a.settled_at,
    a.absent_seen, a.absent_first, a.attempt, a.put_off, a.next_at, a.pre_existing, a.ours, a.reappeared,
    a.verified_at, a.closed_at, a.last_code, a.last_error,
    ARRAY(
        SELECT c FROM whole_claim c
        WHERE c.assignment_id = a.id
            AND c.state IN ('waiting', 'scheduled', 'granting', 'active', 'revoking')
        ORDER BY c.id
    ) AS claims
FROM assignment a;
GRANT SELECT ON whole_assignment TO :app;

CREATE FUNCTION locked_assignments(wanted bigint[]) RETURNS SETOF whole_assignment
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM FROM assignment WHERE id = ANY (wanted) ORDER BY id FOR UPDATE;
    RETURN QUERY SELECT a.* FROM whole_assignment a WHERE a.id = ANY (wanted) ORDER BY a.id;
END
$$;
REVOKE ALL ON FUNCTION locked_assignments FROM PUBLIC;
GRANT EXECUTE ON FUNCTION locked_assignments TO :app;

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

-- Who ended all access of a user, or on an account, and when: what was asked for before is not given later.
-- As with `stop`, the app role can neither take one back nor change it.
CREATE TABLE stop_of_all (
    about      text NOT NULL CHECK (about IN ('user', 'account')),
    id         text NOT NULL,
    stopped_at timestamptz NOT NULL,
    cause      text NOT NULL,
    actor      jsonb NOT NULL,
    why        text NOT NULL,
    until      timestamptz NOT NULL,
    PRIMARY KEY (about, id, stopped_at)
);
CREATE INDEX stop_of_all_until ON stop_of_all (until);
GRANT SELECT, INSERT ON stop_of_all TO :app;

CREATE FUNCTION forget_stops_of_all(moment timestamptz, most integer) RETURNS SETOF boolean LANGUAGE sql
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM stop_of_all WHERE ctid IN (
        SELECT ctid FROM stop_of_all WHERE until <= moment ORDER BY until LIMIT most FOR UPDATE
    ) RETURNING true
$$;
REVOKE ALL ON FUNCTION forget_stops_of_all FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_stops_of_all TO :app;
