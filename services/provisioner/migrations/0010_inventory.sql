-- What was read of AWS, piece by piece and with when, so that a reading that breaks off goes on where it was.
CREATE TABLE inventory_part (
    kind     text NOT NULL,
    id       text NOT NULL, -- of what it is about; empty where there is one of its kind
    read_at  timestamptz NOT NULL, -- when it was begun to be read
    body     jsonb NOT NULL,
    left_out jsonb NOT NULL DEFAULT '{}', -- rows of AWS that cannot be read: key of the document to the reason
    PRIMARY KEY (kind, id)
);

-- What AWS shows no more while the inventory still has it, where too much disappeared at once to be believed.
CREATE TABLE inventory_missing (
    key       text PRIMARY KEY,
    found_at  timestamptz NOT NULL,
    confirmed boolean NOT NULL DEFAULT false
);

GRANT SELECT, INSERT, UPDATE, DELETE ON inventory_part, inventory_missing TO :app;
