-- A stop is forgotten when nothing that it stops can come any more. By this function only: the app role can
-- neither take one back nor change it.

ALTER TABLE stop ADD COLUMN until timestamptz NOT NULL DEFAULT 'infinity';
CREATE INDEX stop_until ON stop (until);

CREATE FUNCTION forget_stops(moment timestamptz, most integer) RETURNS SETOF boolean LANGUAGE sql
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM stop WHERE ctid IN (
        SELECT ctid FROM stop WHERE until <= moment ORDER BY until LIMIT most FOR UPDATE
    ) RETURNING true
$$;
REVOKE ALL ON FUNCTION forget_stops FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_stops TO :app;
