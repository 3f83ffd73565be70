-- Lists of a person's grants and of an account's: compared as rows, so both columns run the same way.
DROP INDEX claim_user, claim_account;
CREATE INDEX claim_user ON claim (user_id, id);
CREATE INDEX claim_account ON claim (account_id, id);
CREATE INDEX claim_user_account ON claim (user_id, account_id, id);

-- Lists of grants in one state, or of those that are not closed: few of all that ever were.
CREATE INDEX claim_state ON claim (state, id);
CREATE INDEX claim_open ON claim (id) WHERE state IN ('waiting', 'scheduled', 'granting', 'active', 'revoking');
