-- What is told to whom: tickets as last known, the facts that make mail, and one delivery per fact and person.
--
-- json and not jsonb for what others wrote: jsonb refuses "\u0000", and a fact that cannot be stored would
-- block its partition for ever.

CREATE TABLE known_ticket (
    id         text PRIMARY KEY,
    version    bigint NOT NULL,
    body       json NOT NULL,
    learned_at timestamptz NOT NULL
);

-- A fact with everything needed to write its mail. `held`: it came before its ticket and waits for it.
CREATE TABLE notice (
    event_id    uuid PRIMARY KEY,
    ticket_id   text NOT NULL,
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
    event_id        uuid NOT NULL REFERENCES notice,
    recipient       text NOT NULL, -- Identity Store user id
    snapshot        text,          -- the address in the fact, for whom the inventory does not know
    ticket_id       text NOT NULL,
    template        text NOT NULL,
    message_id      text NOT NULL,
    happened_at     timestamptz NOT NULL,
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
    settled_at      timestamptz,
    UNIQUE (event_id, recipient)
);
CREATE INDEX delivery_due ON delivery (next_attempt_at) WHERE state = 'pending';
-- Mails of one ticket to one person leave in the order in which things happened.
CREATE INDEX delivery_order ON delivery (ticket_id, recipient, happened_at, id) WHERE state = 'pending';
CREATE INDEX delivery_by_ticket ON delivery (ticket_id, id);
CREATE INDEX delivery_by_recipient ON delivery (recipient, id);
CREATE INDEX delivery_failed ON delivery (id) WHERE state = 'failed';

GRANT SELECT, INSERT, UPDATE ON known_ticket, notice, delivery TO :app;
