-- A mail may be about a person and no ticket: it gathers with no other and waits for none.

ALTER TABLE notice ALTER COLUMN ticket_id DROP NOT NULL;
ALTER TABLE delivery ALTER COLUMN ticket_id DROP NOT NULL;
