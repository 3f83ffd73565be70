-- What is past its retention is found by these, and may be deleted.

CREATE INDEX claim_over ON claim (ends_at) WHERE state IN ('revoked', 'released', 'failed');
CREATE INDEX claim_of_assignment ON claim (assignment_id);
CREATE INDEX claim_extension ON claim (extension_id) WHERE extension_id IS NOT NULL;
CREATE INDEX extension_decided ON extension (decided_at) WHERE state <> 'waiting';
CREATE INDEX witness_received ON witness (received_at);
CREATE INDEX stop_stopped ON stop (stopped_at);

GRANT DELETE ON claim, extension, witness, stop, assignment TO :app;
