-- Mails that are past their retention go with the links to what they were about.

CREATE INDEX delivery_settled ON delivery (settled_at) WHERE state <> 'pending';
CREATE INDEX notice_received ON notice (received_at);
ALTER TABLE delivery_notice DROP CONSTRAINT delivery_notice_delivery_id_fkey,
    ADD FOREIGN KEY (delivery_id) REFERENCES delivery ON DELETE CASCADE;

-- Until when facts about the ticket may come: its last end as far as it is known.
ALTER TABLE known_ticket ADD COLUMN needed_until timestamptz NOT NULL DEFAULT 'infinity';
CREATE INDEX known_ticket_needed ON known_ticket (needed_until);

GRANT DELETE ON known_ticket, notice, delivery TO :app;
