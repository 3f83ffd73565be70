-- A batch of facts is appended at once: numbered and checked as each was alone.

DROP TRIGGER log_head_grows ON log_head;
DROP FUNCTION head_grows_by_one(), append(
    bigint, uuid, text, text, text, text, text[], text[], timestamptz, timestamptz, bytea
), next_sequence(uuid, text);

CREATE FUNCTION head_grows() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.last_sequence <= OLD.last_sequence
        OR NEW.last_sequence IS DISTINCT FROM (SELECT max(sequence) FROM public.audit_event) THEN
        RAISE EXCEPTION 'the head of the audit log is its last record: % cannot become %',
            OLD.last_sequence, NEW.last_sequence USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER log_head_grows BEFORE UPDATE ON log_head FOR EACH ROW EXECUTE FUNCTION head_grows();

-- The number each event will have, with the head locked until the transaction ends; null for what is known or
-- named before. `id_taken` says that another source has used the id, in the log or before it in the list.
CREATE FUNCTION next_sequences(events uuid[], origins text[])
    RETURNS TABLE (sequence bigint, id_taken boolean) LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    head bigint;
BEGIN
    SELECT last_sequence INTO STRICT head FROM log_head FOR UPDATE;
    RETURN QUERY
        WITH asked AS (
            SELECT given.event, given.origin, given.place,
                row_number() OVER (PARTITION BY given.event, given.origin ORDER BY given.place) = 1
                AND NOT EXISTS (
                    SELECT FROM audit_event kept WHERE kept.event_id = given.event AND kept.source = given.origin
                ) AS fresh,
                EXISTS (SELECT FROM audit_event kept WHERE kept.event_id = given.event)
                OR row_number() OVER (PARTITION BY given.event ORDER BY given.place) > 1 AS taken
            FROM unnest(events, origins) WITH ORDINALITY AS given (event, origin, place)
        )
        SELECT CASE WHEN asked.fresh THEN head + count(*) FILTER (WHERE asked.fresh) OVER (ORDER BY asked.place) END,
            asked.taken
        FROM asked ORDER BY asked.place;
END $$;

-- Append under the numbers from next_sequences(), which the records must carry. Accounts and parties are JSON
-- arrays, one for each record.
CREATE FUNCTION append(
    numbers bigint[], events uuid[], origins text[], codes text[], tickets text[], actors text[],
    accounts jsonb[], parties jsonb[], occurred timestamptz[], recorded timestamptz, records bytea[]
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
    UPDATE log_head SET last_sequence = numbers[cardinality(numbers)];
END $$;

REVOKE ALL ON FUNCTION next_sequences, append, head_grows FROM PUBLIC;
GRANT EXECUTE ON FUNCTION next_sequences, append TO :app;
