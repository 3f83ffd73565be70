-- An event's id is its source's own: one that another service made up must not stand for it. Rows of before,
-- and those that a process of the release before writes meanwhile, have no source and stand for any.

ALTER TABLE inbox ADD COLUMN source text NOT NULL DEFAULT '';
ALTER TABLE inbox DROP CONSTRAINT inbox_pkey, ADD PRIMARY KEY (event_id, source);
