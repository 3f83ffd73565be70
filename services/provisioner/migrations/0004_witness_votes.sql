-- The votes behind an approval, to be weighed here again: the approval service's word alone opens nothing.

ALTER TABLE witness
    ADD COLUMN votes            jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN auto_approved_by text,                          -- the rule that asks for no vote
    ADD COLUMN revisions        jsonb NOT NULL DEFAULT '{}',   -- the documents it was decided on
    ADD COLUMN approved_at      timestamptz;

ALTER TABLE claim
    ADD COLUMN parties        text[] NOT NULL DEFAULT '{}',    -- requester and beneficiaries: no votes of theirs
    ADD COLUMN duration_asked interval NOT NULL DEFAULT '0',   -- the length approval rules are asked for
    ADD COLUMN approval_holds boolean NOT NULL DEFAULT false;  -- the votes were found to be enough here

-- What was scheduled by the release before is not stopped by a check it could not know.
UPDATE claim SET approval_holds = true WHERE state = 'scheduled';
