-- A fact is its id and its source: an id that another service reuses must keep nothing out of the log.
-- Rows of before, and those of a process of the release before, name no source here and stand for any.

ALTER TABLE audit_event ADD COLUMN source text NOT NULL DEFAULT '';
ALTER TABLE audit_event DROP CONSTRAINT audit_event_event_id_key, ADD UNIQUE (event_id, source);

-- As before, with the source; the functions without it stay for the release before.
CREATE FUNCTION next_sequence(event uuid, origin text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    following bigint;
BEGIN
    SELECT last_sequence + 1 INTO STRICT following FROM log_head FOR UPDATE;
    IF EXISTS (SELECT FROM audit_event WHERE event_id = event AND source IN (origin, '')) THEN
        RETURN NULL;
    END IF;
    RETURN following;
END $$;

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
        OR metadata #>> '{product,feature,name}' IS DISTINCT FROM origin OR origin = '' THEN
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

REVOKE ALL ON FUNCTION next_sequence(uuid, text), append(
    bigint, uuid, text, text, text, text, text[], text[], timestamptz, timestamptz, bytea
) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION next_sequence(uuid, text), append(
    bigint, uuid, text, text, text, text, text[], text[], timestamptz, timestamptz, bytea
) TO :app;
