-- A ticket that is past its retention goes with everything that is only about it.

CREATE INDEX ticket_submitted ON ticket (submitted_at);
CREATE INDEX ticket_extension_of_ticket ON ticket_extension (ticket_id);
CREATE INDEX ticket_extension_of_revision ON ticket_extension (target_id, revision);

ALTER TABLE ticket_party DROP CONSTRAINT ticket_party_ticket_id_fkey,
    ADD FOREIGN KEY (ticket_id) REFERENCES ticket ON DELETE CASCADE;
ALTER TABLE ticket_target DROP CONSTRAINT ticket_target_ticket_id_fkey,
    ADD FOREIGN KEY (ticket_id) REFERENCES ticket ON DELETE CASCADE;
ALTER TABLE target_revision DROP CONSTRAINT target_revision_target_id_fkey,
    ADD FOREIGN KEY (target_id) REFERENCES ticket_target ON DELETE CASCADE;
ALTER TABLE ticket_grant DROP CONSTRAINT ticket_grant_ticket_id_fkey,
    ADD FOREIGN KEY (ticket_id) REFERENCES ticket ON DELETE CASCADE,
    DROP CONSTRAINT ticket_grant_target_id_revision_fkey,
    ADD FOREIGN KEY (target_id, revision) REFERENCES target_revision ON DELETE CASCADE;
ALTER TABLE ticket_extension DROP CONSTRAINT ticket_extension_ticket_id_fkey,
    ADD FOREIGN KEY (ticket_id) REFERENCES ticket ON DELETE CASCADE,
    DROP CONSTRAINT ticket_extension_target_id_revision_fkey,
    ADD FOREIGN KEY (target_id, revision) REFERENCES target_revision ON DELETE CASCADE;

-- Less than the least that JIT_KEEP_DAYS takes: whatever the app role is made to say.
CREATE TRIGGER ticket_kept BEFORE DELETE ON ticket
    FOR EACH ROW EXECUTE FUNCTION refuse_early('submitted_at', '90 days');
GRANT DELETE ON ticket TO :app;
