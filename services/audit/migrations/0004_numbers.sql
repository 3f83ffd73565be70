-- As before, but each id is looked for by itself. The plan is made while the log is empty, and then it read all
-- of the log for every batch, until the server had counted its rows anew.
CREATE OR REPLACE FUNCTION next_sequences(events uuid[], origins text[])
    RETURNS TABLE (sequence bigint, id_taken boolean) LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    head bigint;
BEGIN
    SELECT last_sequence INTO STRICT head FROM log_head FOR UPDATE;
    RETURN QUERY
        WITH asked AS (
            SELECT given.place,
                row_number() OVER (PARTITION BY given.event, given.origin ORDER BY given.place) = 1
                AND kept.by_origin IS NOT TRUE AS fresh,
                kept.by_origin IS NOT NULL
                OR row_number() OVER (PARTITION BY given.event ORDER BY given.place) > 1 AS taken
            FROM unnest(events, origins) WITH ORDINALITY AS given (event, origin, place),
                -- one row, null where there is none; an aggregate cannot be made into one reading of the whole
                LATERAL (
                    SELECT bool_or(one.source = given.origin) AS by_origin
                    FROM audit_event one WHERE one.event_id = given.event
                ) AS kept
        )
        SELECT CASE WHEN asked.fresh THEN head + count(*) FILTER (WHERE asked.fresh) OVER (ORDER BY asked.place) END,
            asked.taken
        FROM asked ORDER BY asked.place;
END $$;
