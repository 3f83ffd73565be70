-- Documents are published again by their revisions, of which each belongs to one document.

CREATE UNIQUE INDEX document_revision ON document (revision);

-- Where a start found its topic ahead of this counter, the database was restored to an earlier moment.
ALTER TABLE document_counter ADD COLUMN topic_revision bigint NOT NULL DEFAULT 0;

-- A role that may delete what is old takes nothing back: of what is younger than an interval, by the time in a
-- column, or has no such time yet, no row can be deleted. For triggers: the column, the interval.
CREATE FUNCTION refuse_early() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    over timestamptz := coalesce((to_jsonb(OLD) ->> TG_ARGV[0])::timestamptz, 'infinity');
BEGIN
    IF over > now() - TG_ARGV[1]::interval THEN
        RAISE EXCEPTION 'a row of % is not deleted within % of its %', TG_TABLE_NAME, TG_ARGV[1], TG_ARGV[0]
            USING ERRCODE = 'insufficient_privilege', HINT = 'docs/retention.md says how long it is kept';
    END IF;
    RETURN OLD;
END $$;
REVOKE ALL ON FUNCTION refuse_early FROM PUBLIC;

-- Parked records are kept for a while and not for ever.
CREATE INDEX dead_letter_parked ON dead_letter (parked_at);
CREATE TRIGGER dead_letter_kept BEFORE DELETE ON dead_letter
    FOR EACH ROW EXECUTE FUNCTION refuse_early('parked_at', '30 days');
GRANT DELETE ON dead_letter TO :app;
