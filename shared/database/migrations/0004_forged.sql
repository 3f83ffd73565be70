-- Records that their topic's owner has not signed: kept apart, since anybody may send any number of them.

ALTER TABLE dead_letter ADD COLUMN forged boolean NOT NULL DEFAULT false;
CREATE INDEX dead_letter_forged ON dead_letter (topic) WHERE forged;
