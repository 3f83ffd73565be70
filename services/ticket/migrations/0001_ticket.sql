-- Tickets as rows: what was asked for, target by target and revision by revision, with grants and extensions.
-- Nothing is taken out: earlier revisions stay with their grants, so that who said no to what can be read.

CREATE TABLE ticket (
    id                uuid PRIMARY KEY, -- UUIDv7: ordered by submission
    instance          text NOT NULL,
    version           integer NOT NULL CHECK (version > 0),
    requester         text NOT NULL, -- user id; everything else about people is as it was when they asked
    requester_named   jsonb NOT NULL,
    beneficiaries     jsonb NOT NULL,
    description       jsonb NOT NULL, -- as shared.contracts.description.Description
    reference         text GENERATED ALWAYS AS (description ->> 'reference') STORED, -- to be found by
    submitted_at      timestamptz NOT NULL,
    state             text NOT NULL,
    credentials_until timestamptz,
    closed_at         timestamptz,
    revisions         jsonb NOT NULL,
    times_out_at      timestamptz, -- when the first of what waits for a decision times out
    closes_at         timestamptz -- once everything granted has ended, until it is closed
);
CREATE INDEX ticket_timing_out ON ticket (times_out_at) WHERE times_out_at IS NOT NULL;
CREATE INDEX ticket_closing ON ticket (closes_at) WHERE closes_at IS NOT NULL;
CREATE INDEX ticket_state ON ticket (state, id);
CREATE INDEX ticket_requester ON ticket (requester, id);
CREATE INDEX ticket_reference ON ticket (reference, id) WHERE reference IS NOT NULL;

-- Requester and beneficiaries: whose list a ticket is in. Follows from the ticket, written with it.
CREATE TABLE ticket_party (
    user_id   text NOT NULL,
    ticket_id uuid NOT NULL REFERENCES ticket,
    benefits  boolean NOT NULL, -- would get the access; the requester alone need not
    PRIMARY KEY (user_id, ticket_id)
);
CREATE INDEX ticket_party_of_ticket ON ticket_party (ticket_id);

CREATE TABLE ticket_target (
    id           uuid PRIMARY KEY,
    ticket_id    uuid NOT NULL REFERENCES ticket,
    position     integer NOT NULL, -- within the ticket
    account_id   text NOT NULL,
    account_name text NOT NULL,
    set_id       text NOT NULL,
    set_name     text NOT NULL,
    set_group    text,
    revision     integer NOT NULL CHECK (revision > 0), -- the current one
    UNIQUE (ticket_id, position)
);
CREATE INDEX ticket_target_account ON ticket_target (account_id, ticket_id);
CREATE INDEX ticket_target_set ON ticket_target (set_id, ticket_id);

-- One row for each time a target was asked for; only the current one ever changes.
CREATE TABLE target_revision (
    target_id        uuid NOT NULL REFERENCES ticket_target,
    revision         integer NOT NULL CHECK (revision > 0),
    subject_id       uuid NOT NULL UNIQUE,
    set_digest       text NOT NULL,
    session_duration interval NOT NULL,
    asked            jsonb NOT NULL,
    reason           text NOT NULL,
    submitted_at     timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    state            text NOT NULL,
    approved_window  jsonb,
    decided_at       timestamptz,
    PRIMARY KEY (target_id, revision)
);

-- One row a grant of one revision: an access fact changes it alone, a stop finds every claim of a tuple.
CREATE TABLE ticket_grant (
    id                uuid PRIMARY KEY,
    ticket_id         uuid NOT NULL REFERENCES ticket,
    target_id         uuid NOT NULL,
    revision          integer NOT NULL,
    position          integer NOT NULL, -- within the ticket
    instance          text NOT NULL,
    beneficiary       text NOT NULL,
    account_id        text NOT NULL,
    set_id            text NOT NULL,
    live              boolean NOT NULL,
    ends_at           timestamptz,
    state             text,
    code              text,
    detail            text NOT NULL,
    granted_at        timestamptz,
    ended_at          timestamptz,
    kept_by           text[] NOT NULL,
    already_held      boolean NOT NULL,
    credentials_until timestamptz,
    FOREIGN KEY (target_id, revision) REFERENCES target_revision
);
CREATE INDEX ticket_grant_live ON ticket_grant (instance, beneficiary, account_id, set_id) WHERE live;
CREATE INDEX ticket_grant_of_ticket ON ticket_grant (ticket_id);
CREATE INDEX ticket_grant_of_revision ON ticket_grant (target_id, revision);

CREATE TABLE ticket_extension (
    id              uuid PRIMARY KEY, -- its approval subject's
    ticket_id       uuid NOT NULL REFERENCES ticket,
    position        integer NOT NULL, -- within the ticket
    target_id       uuid NOT NULL,
    revision        integer NOT NULL,
    grants          text[] NOT NULL,
    requested_by    jsonb NOT NULL,
    ends_at         timestamptz NOT NULL,
    reason          text NOT NULL,
    submitted_at    timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    state           text NOT NULL,
    code            text,
    approved_window jsonb,
    decided_at      timestamptz,
    UNIQUE (ticket_id, position),
    FOREIGN KEY (target_id, revision) REFERENCES target_revision
);

-- A target in each of its revisions as one JSON object, read as shared.contracts.ticket.Target.
CREATE VIEW whole_target AS
SELECT
    t.ticket_id,
    t.position,
    r.revision,
    r.revision = t.revision AS current,
    r.subject_id, -- UUIDv7: ordered by when it was asked for
    jsonb_build_object(
        'id', t.id,
        'account_id', t.account_id,
        'account_name', t.account_name,
        'set_id', t.set_id,
        'set_name', t.set_name,
        'set_group', t.set_group,
        'revision', r.revision,
        'subject_id', r.subject_id,
        'set_digest', r.set_digest,
        'session_duration', extract(epoch FROM r.session_duration),
        'asked', r.asked,
        'reason', r.reason,
        'submitted_at', r.submitted_at,
        'expires_at', r.expires_at,
        'state', r.state,
        'window', r.approved_window,
        'decided_at', r.decided_at
    ) AS whole
FROM ticket_target t JOIN target_revision r ON r.target_id = t.id;

-- A grant as one JSON object, read as shared.contracts.ticket.Grant.
CREATE VIEW whole_grant AS
SELECT
    g.ticket_id,
    g.position,
    g.revision = t.revision AS current,
    jsonb_build_object(
        'id', g.id,
        'target_id', g.target_id,
        'revision', g.revision,
        'beneficiary', g.beneficiary,
        'ends_at', g.ends_at,
        'state', g.state,
        'code', g.code,
        'detail', g.detail,
        'granted_at', g.granted_at,
        'ended_at', g.ended_at,
        'kept_by', g.kept_by,
        'already_held', g.already_held,
        'credentials_until', g.credentials_until
    ) AS whole
FROM ticket_grant g JOIN ticket_target t ON t.id = g.target_id;

-- An extension as one JSON object, read as shared.contracts.ticket.Extension.
CREATE VIEW whole_extension AS
SELECT
    e.ticket_id,
    e.position,
    jsonb_build_object(
        'id', e.id,
        'target_id', e.target_id,
        'revision', e.revision,
        'grants', e.grants,
        'requested_by', e.requested_by,
        'ends_at', e.ends_at,
        'reason', e.reason,
        'submitted_at', e.submitted_at,
        'expires_at', e.expires_at,
        'state', e.state,
        'code', e.code,
        'window', e.approved_window,
        'decided_at', e.decided_at
    ) AS whole
FROM ticket_extension e;

-- A ticket with its targets as they are now, read as shared.contracts.ticket.Ticket.
CREATE VIEW whole_ticket AS
SELECT
    t.id,
    jsonb_build_object(
        'id', t.id,
        'instance', t.instance,
        'version', t.version,
        'requester', t.requester_named,
        'beneficiaries', t.beneficiaries,
        'targets', (
            SELECT jsonb_agg(w.whole ORDER BY w.position) FROM whole_target w
            WHERE w.ticket_id = t.id AND w.current
        ),
        'grants', (
            SELECT jsonb_agg(w.whole ORDER BY w.position) FROM whole_grant w
            WHERE w.ticket_id = t.id AND w.current
        ),
        'extensions', coalesce(
            (SELECT jsonb_agg(w.whole ORDER BY w.position) FROM whole_extension w WHERE w.ticket_id = t.id),
            '[]'
        ),
        'submitted_at', t.submitted_at,
        'state', t.state,
        'credentials_until', t.credentials_until,
        'closed_at', t.closed_at,
        'revisions', t.revisions
    ) || t.description AS whole
FROM ticket t;

GRANT SELECT, INSERT, UPDATE
    ON ticket, ticket_target, target_revision, ticket_grant, ticket_extension TO :app;
GRANT SELECT, INSERT, DELETE ON ticket_party TO :app;
GRANT SELECT ON whole_target, whole_grant, whole_extension, whole_ticket TO :app;
