-- Tickets whole, with what lists, timers and stops look them up by. The body is the contract's JSON.

CREATE TABLE ticket (
    id            uuid PRIMARY KEY, -- UUIDv7: ordered by submission
    instance      text NOT NULL,
    version       integer NOT NULL CHECK (version > 0),
    requester     text NOT NULL,
    state         text NOT NULL,
    submitted_at  timestamptz NOT NULL,
    pending_until timestamptz, -- while a target is pending
    closes_at     timestamptz, -- once everything has ended, until it is closed
    body          jsonb NOT NULL
);
CREATE INDEX ticket_pending ON ticket (pending_until) WHERE pending_until IS NOT NULL;
CREATE INDEX ticket_closing ON ticket (closes_at) WHERE closes_at IS NOT NULL;
CREATE INDEX ticket_state ON ticket (state, id);

-- Requester and beneficiaries: whose list a ticket is in.
CREATE TABLE ticket_party (
    user_id   text NOT NULL,
    ticket_id uuid NOT NULL REFERENCES ticket (id),
    PRIMARY KEY (user_id, ticket_id)
);

CREATE TABLE ticket_account (
    account_id text NOT NULL,
    ticket_id  uuid NOT NULL REFERENCES ticket (id),
    PRIMARY KEY (account_id, ticket_id)
);

-- One row a grant: an access fact finds its ticket, a stop finds every claim of a tuple.
CREATE TABLE ticket_grant (
    grant_id   uuid PRIMARY KEY,
    ticket_id  uuid NOT NULL REFERENCES ticket (id),
    instance   text NOT NULL,
    user_id    text NOT NULL,
    account_id text NOT NULL,
    set_id     text NOT NULL,
    live       boolean NOT NULL
);
CREATE INDEX ticket_grant_live ON ticket_grant (instance, user_id, account_id, set_id) WHERE live;
CREATE INDEX ticket_grant_ticket ON ticket_grant (ticket_id);

GRANT SELECT, INSERT ON ticket_party, ticket_account TO :app;
GRANT SELECT, INSERT, UPDATE ON ticket, ticket_grant TO :app;
