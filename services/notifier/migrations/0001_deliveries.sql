-- What is mailed to whom: tickets as last known, the facts that are mailed, and the mails they are gathered into.
--
-- json and not jsonb for what others wrote: jsonb refuses "\u0000", and a fact that cannot be stored would
-- block its partition for ever.

CREATE TABLE known_ticket (
    id         text PRIMARY KEY,
    version    bigint NOT NULL,
    body       json NOT NULL,
    learned_at timestamptz NOT NULL
);

-- A fact with everything needed to write its mail. `held`: it came before its ticket, or before the version of
-- it that the fact is about, and waits for it.
CREATE TABLE notice (
    id          uuid PRIMARY KEY,
    event_id    uuid NOT NULL, -- not unique: the inbox tells facts apart by id and source
    ticket_id   text NOT NULL,
    needs       bigint NOT NULL, -- the ticket's version
    type        text NOT NULL,
    fact        json NOT NULL,
    ticket      json, -- as it was known then; ticket facts carry theirs inside
    held        boolean NOT NULL,
    overdue     boolean NOT NULL DEFAULT false, -- held too long: delivered without its ticket
    happened_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL
);
CREATE INDEX notice_held_by_ticket ON notice (ticket_id) WHERE held;
CREATE INDEX notice_held_by_age ON notice (received_at) WHERE held AND NOT overdue;

CREATE TABLE delivery (
    id              uuid PRIMARY KEY,
    ticket_id       text NOT NULL,
    template        text NOT NULL,
    recipient       text NOT NULL, -- Identity Store user id
    snapshot        text,          -- the address in the fact, for whom the inventory does not know
    message_id      text NOT NULL, -- by the first fact it was made for
    happened_at     timestamptz NOT NULL, -- the earliest of its facts
    state           text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'sent', 'failed')),
    attempts        integer NOT NULL DEFAULT 0, -- only grows: it also fences off a sender whose lease ran out
    next_attempt_at timestamptz NOT NULL,
    leased_until    timestamptz,
    give_up_at      timestamptz NOT NULL,
    address         text,
    smtp_code       integer,
    detail          text NOT NULL DEFAULT '',
    retried_by      text,
    created_at      timestamptz NOT NULL,
    settled_at      timestamptz
);
-- One mail of a kind gathers at a time. Once it was tried its content stands: a repeat must be the same mail.
CREATE UNIQUE INDEX delivery_gathering ON delivery (ticket_id, recipient, template)
    WHERE state = 'pending' AND attempts = 0;
CREATE INDEX delivery_due ON delivery (next_attempt_at) WHERE state = 'pending';
-- Mails of one ticket to one person leave in the order in which things happened.
CREATE INDEX delivery_order ON delivery (ticket_id, recipient, happened_at, id) WHERE state = 'pending';
CREATE INDEX delivery_by_ticket ON delivery (ticket_id, id);
CREATE INDEX delivery_by_recipient ON delivery (recipient, id);
CREATE INDEX delivery_failed ON delivery (id) WHERE state = 'failed';

-- Which facts a mail is about. A person is mailed about a fact once.
CREATE TABLE delivery_notice (
    notice_id   uuid NOT NULL REFERENCES notice,
    recipient   text NOT NULL,
    delivery_id uuid NOT NULL REFERENCES delivery,
    PRIMARY KEY (notice_id, recipient)
);
CREATE INDEX delivery_notice_by_delivery ON delivery_notice (delivery_id);

GRANT SELECT, INSERT, UPDATE ON known_ticket, notice, delivery TO :app;
GRANT SELECT, INSERT ON delivery_notice TO :app;
