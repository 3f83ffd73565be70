-- Documents are published again by their revisions, of which each belongs to one document.

CREATE UNIQUE INDEX document_revision ON document (revision);

-- Parked records are kept for a while and not for ever.
CREATE INDEX dead_letter_parked ON dead_letter (parked_at);
GRANT DELETE ON dead_letter TO :app;
