-- Creations and deletions apart: which request made what is there, and when a deletion of ours was last over.

ALTER TABLE assignment
    ADD COLUMN deletion_id    text,                -- of the newest deletion AWS accepted
    ADD COLUMN deletion_ended timestamptz;         -- when it may last have taken effect; null after a creation

-- From here on the id of the creation that made what is there; none where that is not known.
COMMENT ON COLUMN assignment.request_id IS 'of the newest creation AWS accepted, until it is deleted';
UPDATE assignment SET deletion_id = request_id, request_id = NULL
WHERE request_id IS NOT NULL AND (desired = 'absent' OR observed IN ('deleted', 'absent'));
