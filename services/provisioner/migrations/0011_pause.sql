-- Whether grants are paused: one row, empty while they are not. Who begins a grant holds it FOR SHARE until
-- that is committed, so that nothing begins any more once a pause is.
CREATE TABLE grant_pause (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    since    timestamptz,
    actor    jsonb,                                    -- who paused them
    why      text,
    CHECK (num_nulls(since, actor, why) IN (0, 3))
);
INSERT INTO grant_pause DEFAULT VALUES;

GRANT SELECT, UPDATE ON grant_pause TO :app;
