-- The audit log: append-only, numbered without gaps in the order of commits, each record as exact bytes.
-- The app role may run next_sequence() and append(), and read; it can change nothing that is written.

CREATE TABLE audit_event (
    sequence    bigint PRIMARY KEY CHECK (sequence > 0),
    event_id    uuid NOT NULL,
    source      text NOT NULL CHECK (source <> ''), -- an id that another service reuses keeps nothing out of the log
    event_code  text NOT NULL,
    ticket_id   text,
    actor_id    text NOT NULL,
    account_ids text[] NOT NULL,
    party_ids   text[] NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    ocsf        bytea NOT NULL, -- what is published and served, byte for byte; jsonb would reorder it
    UNIQUE (event_id, source) -- for ever, unlike the inbox: a fact replayed after years is still known
);
CREATE INDEX audit_event_ticket ON audit_event (ticket_id, sequence) WHERE ticket_id IS NOT NULL;
CREATE INDEX audit_event_actor ON audit_event (actor_id, sequence);
CREATE INDEX audit_event_code ON audit_event (event_code, sequence);
CREATE INDEX audit_event_accounts ON audit_event USING gin (account_ids);
CREATE INDEX audit_event_occurred ON audit_event (occurred_at);

-- One row, locked from next_sequence() to commit: a reader that asks for "sequence > last" misses nothing,
-- because no higher number can commit before a lower one.
CREATE TABLE log_head (
    only_row      boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    last_sequence bigint NOT NULL CHECK (last_sequence >= 0)
);
INSERT INTO log_head (last_sequence) VALUES (0);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the audit log is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER log_head_stays BEFORE INSERT OR DELETE OR TRUNCATE ON log_head
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION head_grows_by_one() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.last_sequence <> OLD.last_sequence + 1 THEN
        RAISE EXCEPTION 'the head of the audit log grows by one: % cannot become %',
            OLD.last_sequence, NEW.last_sequence USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER log_head_grows BEFORE UPDATE ON log_head FOR EACH ROW EXECUTE FUNCTION head_grows_by_one();

-- The number the event will have, with the head locked until the transaction ends; null when it is known.
CREATE FUNCTION next_sequence(event uuid, origin text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    following bigint;
BEGIN
    SELECT last_sequence + 1 INTO STRICT following FROM log_head FOR UPDATE;
    IF EXISTS (SELECT FROM audit_event WHERE event_id = event AND source = origin) THEN
        RETURN NULL;
    END IF;
    RETURN following;
END $$;

-- Append under the number from next_sequence(), which the record must carry; null when the event is known.
CREATE FUNCTION append(
    number bigint, event uuid, origin text, code text, ticket text, actor text, accounts text[], parties text[],
    occurred timestamptz, recorded timestamptz, record bytea
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    following bigint := next_sequence(event, origin);
    metadata  json := convert_from(record, 'UTF8')::json -> 'metadata';
BEGIN
    IF following IS NULL THEN
        RETURN NULL;
    END IF;
    IF number IS DISTINCT FROM following THEN
        RAISE EXCEPTION 'sequence % is not the next one, %', number, following
            USING ERRCODE = 'restrict_violation', HINT = 'take it from next_sequence() in the same transaction';
    END IF;
    IF (metadata ->> 'sequence')::bigint IS DISTINCT FROM following
        OR (metadata ->> 'uid')::uuid IS DISTINCT FROM event
        OR metadata #>> '{product,feature,name}' IS DISTINCT FROM origin THEN
        RAISE EXCEPTION 'the record of % does not carry its own id, source and sequence %', event, following
            USING ERRCODE = 'restrict_violation';
    END IF;
    UPDATE log_head SET last_sequence = following;
    INSERT INTO audit_event (
        sequence, event_id, source, event_code, ticket_id, actor_id, account_ids, party_ids, occurred_at,
        recorded_at, ocsf
    ) VALUES (following, event, origin, code, ticket, actor, accounts, parties, occurred, recorded, record);
    RETURN following;
END $$;

REVOKE ALL ON FUNCTION next_sequence, append, refuse_change, head_grows_by_one FROM PUBLIC;
GRANT EXECUTE ON FUNCTION next_sequence, append TO :app;
GRANT SELECT ON audit_event, log_head TO :app;
