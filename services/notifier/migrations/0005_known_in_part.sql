-- A ticket fact tells of some targets only. What is known of a ticket says how old each target is (in `body`, and in
-- `ticket` of every notice): there is no one version of it, and whether a fact waits for more is asked of that.

ALTER TABLE known_ticket DROP COLUMN version;
ALTER TABLE notice DROP COLUMN needs;
