-- Rows by which the log is searched: an account's and a person's records in the order of the log, and where in
-- it an hour's facts stand. They follow from the records and are written with them, by append().
--
-- They hold what else records are searched by, under the same names, so that no record is read that does not
-- match; and they are read out of their indexes alone.

CREATE TABLE log_account (
    account_id  text NOT NULL,
    sequence    bigint NOT NULL,
    event_code  text NOT NULL,
    actor_id    text NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, sequence) INCLUDE (occurred_at)
);
CREATE INDEX log_account_code ON log_account (account_id, event_code, sequence) INCLUDE (occurred_at);
CREATE INDEX log_account_actor ON log_account (account_id, actor_id, sequence) INCLUDE (event_code, occurred_at);

-- Who did it, where that is a person, and whose ticket it is about.
CREATE TABLE log_person (
    user_id     text NOT NULL,
    sequence    bigint NOT NULL,
    event_code  text NOT NULL,
    actor_id    text NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, sequence) INCLUDE (actor_id, event_code, occurred_at)
);
CREATE INDEX log_person_code ON log_person (user_id, event_code, sequence) INCLUDE (actor_id, occurred_at);

-- A fact may be recorded long after it happened, so that times do not follow the order of the log: all facts of
-- an hour stand between these two.
CREATE TABLE log_hour (
    hour           timestamptz PRIMARY KEY,
    first_sequence bigint NOT NULL,
    last_sequence  bigint NOT NULL CHECK (last_sequence >= first_sequence)
);

-- One value of two, so that no other index has this order; a code has no blank.
CREATE INDEX audit_event_actor_code ON audit_event ((actor_id || ' ' || event_code), sequence);
DROP INDEX audit_event_accounts, audit_event_occurred;

INSERT INTO log_account (account_id, sequence, event_code, actor_id, occurred_at)
    SELECT account_id, sequence, event_code, actor_id, occurred_at
    FROM audit_event, unnest(account_ids) AS account_id ON CONFLICT DO NOTHING;
INSERT INTO log_person (user_id, sequence, event_code, actor_id, occurred_at)
    SELECT user_id, sequence, event_code, actor_id, occurred_at
    FROM audit_event, unnest(party_ids || actor_id) AS user_id
    WHERE user_id NOT IN ('ticket', 'approval', 'provisioner', 'notifier', 'audit') ON CONFLICT DO NOTHING;
INSERT INTO log_hour (hour, first_sequence, last_sequence)
    SELECT date_trunc('hour', occurred_at, 'UTC'), min(sequence), max(sequence) FROM audit_event GROUP BY 1;

CREATE TRIGGER log_account_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log_account
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER log_person_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log_person
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE FUNCTION hour_widens() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.hour <> OLD.hour OR NEW.first_sequence > OLD.first_sequence OR NEW.last_sequence < OLD.last_sequence THEN
        RAISE EXCEPTION 'an hour of the audit log only widens: % cannot become %', OLD, NEW
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION hour_widens FROM PUBLIC;
CREATE TRIGGER log_hour_widens BEFORE UPDATE ON log_hour FOR EACH ROW EXECUTE FUNCTION hour_widens();
CREATE TRIGGER log_hour_stays BEFORE DELETE OR TRUNCATE ON log_hour
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- As before, and with the rows above. People are a JSON array for each record, like accounts and parties.
DROP FUNCTION append(
    bigint[], uuid[], text[], text[], text[], text[], jsonb[], jsonb[], timestamptz[], timestamptz, bytea[]
);
CREATE FUNCTION append(
    numbers bigint[], events uuid[], origins text[], codes text[], tickets text[], actors text[],
    accounts jsonb[], parties jsonb[], people jsonb[], occurred timestamptz[], recorded timestamptz, records bytea[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    head  bigint;
    wrong uuid;
BEGIN
    SELECT last_sequence INTO STRICT head FROM log_head FOR UPDATE;
    IF numbers IS DISTINCT FROM ARRAY(SELECT generate_series(head + 1, head + cardinality(events)))
        OR cardinality(numbers) = 0 THEN
        RAISE EXCEPTION 'sequences % are not the ones after %', numbers, head
            USING ERRCODE = 'restrict_violation', HINT = 'take them from next_sequences() in the same transaction';
    END IF;
    SELECT event INTO wrong
        FROM unnest(numbers, events, origins, records) AS given (number, event, origin, record),
            LATERAL (SELECT convert_from(given.record, 'UTF8')::json -> 'metadata' AS metadata) AS said
        WHERE (metadata ->> 'sequence')::bigint IS DISTINCT FROM number
            OR (metadata ->> 'uid')::uuid IS DISTINCT FROM event
            OR metadata #>> '{product,feature,name}' IS DISTINCT FROM origin
        LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the record of % does not carry its own id, source and sequence', wrong
            USING ERRCODE = 'restrict_violation';
    END IF;
    INSERT INTO audit_event (
        sequence, event_id, source, event_code, ticket_id, actor_id, account_ids, party_ids, occurred_at,
        recorded_at, ocsf
    )
    SELECT number, event, origin, code, ticket, actor,
        ARRAY(SELECT jsonb_array_elements_text(given.account)), ARRAY(SELECT jsonb_array_elements_text(given.party)),
        occurred_at, recorded, record
    FROM unnest(numbers, events, origins, codes, tickets, actors, accounts, parties, occurred, records)
        AS given (number, event, origin, code, ticket, actor, account, party, occurred_at, record);
    INSERT INTO log_account (account_id, sequence, event_code, actor_id, occurred_at)
        SELECT account_id, number, code, actor, at
        FROM unnest(numbers, codes, actors, occurred, accounts) AS given (number, code, actor, at, named),
            jsonb_array_elements_text(named) AS account_id
        ON CONFLICT DO NOTHING; -- one that a record names twice
    INSERT INTO log_person (user_id, sequence, event_code, actor_id, occurred_at)
        SELECT user_id, number, code, actor, at
        FROM unnest(numbers, codes, actors, occurred, people) AS given (number, code, actor, at, named),
            jsonb_array_elements_text(named) AS user_id
        ON CONFLICT DO NOTHING;
    INSERT INTO log_hour AS kept (hour, first_sequence, last_sequence)
        SELECT date_trunc('hour', at, 'UTC'), min(number), max(number)
        FROM unnest(numbers, occurred) AS given (number, at) GROUP BY 1
        ON CONFLICT (hour) DO UPDATE SET last_sequence = excluded.last_sequence;
    UPDATE log_head SET last_sequence = numbers[cardinality(numbers)];
END $$;

REVOKE ALL ON FUNCTION append FROM PUBLIC;
GRANT EXECUTE ON FUNCTION append TO :app;
GRANT SELECT ON log_account, log_person, log_hour TO :app;
