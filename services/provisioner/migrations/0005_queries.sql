-- Lists of grants in one state, or of those that are not closed: few of all that ever were.
CREATE INDEX claim_state ON claim (state, id);
CREATE INDEX claim_open ON claim (id) WHERE state IN ('waiting', 'scheduled', 'granting', 'active', 'revoking');
