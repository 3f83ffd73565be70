-- Documents are published again by their revisions, of which each belongs to one document.

CREATE UNIQUE INDEX document_revision ON document (revision);

-- Where a start found its topic ahead of this counter, the database was restored to an earlier moment.
ALTER TABLE document_counter ADD COLUMN topic_revision bigint NOT NULL DEFAULT 0;

-- Parked records are kept for a while and not for ever.
CREATE INDEX dead_letter_parked ON dead_letter (parked_at);
GRANT DELETE ON dead_letter TO :app;
