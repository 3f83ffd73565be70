-- What is past its retention is found by these, and may be deleted.

CREATE INDEX claim_over ON claim (ends_at) WHERE state IN ('revoked', 'released', 'failed');
CREATE INDEX claim_of_assignment ON claim (assignment_id);
CREATE INDEX claim_extension ON claim (extension_id) WHERE extension_id IS NOT NULL;
CREATE INDEX extension_decided ON extension (decided_at) WHERE state <> 'waiting';
CREATE INDEX witness_received ON witness (received_at);

-- Less than the least that JIT_KEEP_DAYS takes: whatever the app role is made to say.
CREATE TRIGGER claim_kept BEFORE DELETE ON claim
    FOR EACH ROW EXECUTE FUNCTION refuse_early('ends_at', '90 days');
CREATE TRIGGER extension_kept BEFORE DELETE ON extension
    FOR EACH ROW EXECUTE FUNCTION refuse_early('received_at', '90 days');
CREATE TRIGGER witness_kept BEFORE DELETE ON witness
    FOR EACH ROW EXECUTE FUNCTION refuse_early('received_at', '90 days');
CREATE TRIGGER binding_conflict_kept BEFORE DELETE ON binding_conflict
    FOR EACH ROW EXECUTE FUNCTION refuse_early('found_at', '30 days');
CREATE INDEX binding_conflict_found ON binding_conflict (found_at);
GRANT DELETE ON claim, extension, witness, assignment, binding_conflict TO :app;
