-- A review that is past its retention goes with its votes and with who could have given them.

CREATE INDEX review_closed ON review (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX live_grant_of_review ON live_grant (review_id);
CREATE INDEX review_voter_of_vote ON review_voter (vote_id);

ALTER TABLE vote DROP CONSTRAINT vote_review_id_fkey,
    ADD FOREIGN KEY (review_id) REFERENCES review ON DELETE CASCADE;
ALTER TABLE review_voter DROP CONSTRAINT review_voter_review_id_fkey,
    ADD FOREIGN KEY (review_id) REFERENCES review ON DELETE CASCADE,
    DROP CONSTRAINT review_voter_vote_id_fkey,
    ADD FOREIGN KEY (vote_id) REFERENCES vote ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;

-- Less than the least that JIT_KEEP_DAYS takes: whatever the app role is made to say.
CREATE TRIGGER review_kept BEFORE DELETE ON review
    FOR EACH ROW EXECUTE FUNCTION refuse_early('closed_at', '90 days');
GRANT DELETE ON ticket, review TO :app;
