-- Claims, the assignments they are about, witnesses, stops that came first, and the engine's lease.
-- One assignment row per tuple (instance, user, account, set); it is the unit of work and of locking:
-- whoever changes a claim holds its assignment's row lock.

CREATE TABLE assignment (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instance       text NOT NULL,
    user_id        text NOT NULL,
    account_id     text NOT NULL,
    set_id         text NOT NULL,
    set_arn        text,                               -- known from the first granting on
    desired        text NOT NULL DEFAULT 'absent' CHECK (desired IN ('present', 'absent')),
    observed       text NOT NULL DEFAULT 'unknown'
        CHECK (observed IN ('unknown', 'created', 'doubtful', 'present', 'deleted', 'absent')),
    op_kind        text CHECK (op_kind IN ('create', 'delete')),
    op_request_id  text,
    op_started     timestamptz,
    request_id     text,                               -- of the newest creation AWS accepted, until deleted
    deletion_id    text,                               -- of the newest deletion AWS accepted
    deletion_ended timestamptz,                        -- when it may last have worked; null after a creation
    settled_at     timestamptz,                        -- when our newest operation ended
    absent_seen    integer NOT NULL DEFAULT 0,
    absent_first   timestamptz,
    attempt        integer NOT NULL DEFAULT 0,
    next_at        timestamptz,                        -- null: nothing to do until a claim changes
    pre_existing   boolean NOT NULL DEFAULT false,     -- found beforehand, not ours, never deleted
    ever_operated  boolean NOT NULL DEFAULT false,     -- committed before our first call
    verified_at    timestamptz,                        -- when AWS was last read
    closed_at      timestamptz,                        -- verified absent since
    last_code      text NOT NULL DEFAULT '',           -- what AWS last said no with; '' after it said yes
    last_error     text NOT NULL DEFAULT '',
    UNIQUE (instance, user_id, account_id, set_id),
    CHECK ((op_kind IS NULL) = (op_started IS NULL)),
    CHECK (NOT (pre_existing AND ever_operated))
);
-- The engine asks for what is due, a few rows out of all that ever were.
CREATE INDEX assignment_due ON assignment (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX assignment_in_flight ON assignment (op_started) WHERE op_kind IS NOT NULL;

CREATE TABLE claim (
    id               text PRIMARY KEY,                 -- the grant's id
    assignment_id    bigint NOT NULL REFERENCES assignment,
    instance         text NOT NULL,
    ticket_id        text NOT NULL,
    target_id        text NOT NULL,
    revision         integer NOT NULL,
    user_id          text NOT NULL,
    account_id       text NOT NULL,
    set_id           text NOT NULL,
    set_digest       text NOT NULL,
    content_hash     text NOT NULL,
    session_duration interval NOT NULL,
    starts_at        timestamptz NOT NULL,
    ends_at          timestamptz NOT NULL CHECK (ends_at > starts_at),
    state            text NOT NULL CHECK (state IN ('waiting', 'scheduled', 'granting', 'active',
                                                    'revoking', 'revoked', 'released', 'failed')),
    version          integer NOT NULL DEFAULT 0,
    received_at      timestamptz NOT NULL,
    parties          text[] NOT NULL DEFAULT '{}',     -- requester and beneficiaries: no votes of theirs
    duration_asked   interval NOT NULL DEFAULT '0',    -- the length approval rules are asked for
    approval_holds   boolean NOT NULL DEFAULT false,   -- the votes were found to be enough here
    cause            text,                             -- id of the event it came from
    granted_at       timestamptz,
    already_held     boolean NOT NULL DEFAULT false,
    request_id       text,
    ended_at         timestamptz,
    end_cause        text,
    code             text,
    detail           text NOT NULL DEFAULT '',
    kept_by          text[] NOT NULL DEFAULT '{}',
    overdue_at       timestamptz,                      -- when its revoke was called late
    seen_at          timestamptz,                      -- AWS showed it after its end, though never granted
    credentials_until timestamptz
);
CREATE INDEX claim_assignment ON claim (assignment_id)
    WHERE state IN ('waiting', 'scheduled', 'granting', 'active', 'revoking');
CREATE INDEX claim_target ON claim (ticket_id, target_id);
CREATE INDEX claim_user ON claim (user_id, id DESC);
CREATE INDEX claim_account ON claim (account_id, id DESC);
-- The expiry producer's: holds open claims only, so an end costs the same however many ever ended.
CREATE INDEX claim_open_end ON claim (ends_at) WHERE state IN ('waiting', 'scheduled', 'granting', 'active');
CREATE INDEX claim_unwitnessed ON claim (received_at) WHERE state = 'waiting';
CREATE INDEX claim_revoking ON claim (ended_at) WHERE state = 'revoking';

-- How the two are read, the columns of each named once: the claims that are not closed, as rows by id.
CREATE VIEW whole_claim AS
SELECT
    id, assignment_id, instance, ticket_id, target_id, revision, user_id, account_id, set_id, set_digest,
    content_hash, session_duration, starts_at, ends_at, state, version, received_at, parties, duration_asked,
    approval_holds, cause, granted_at, already_held, request_id, ended_at, end_cause, code, detail, kept_by,
    overdue_at, seen_at, credentials_until
FROM claim;

CREATE VIEW whole_assignment AS
SELECT
    a.id, a.instance, a.user_id, a.account_id, a.set_id, a.set_arn, a.desired, a.observed, a.op_kind,
    a.op_request_id, a.op_started, a.request_id, a.deletion_id, a.deletion_ended, a.settled_at, a.absent_seen,
    a.absent_first, a.attempt, a.next_at, a.pre_existing, a.ever_operated, a.verified_at, a.closed_at,
    a.last_code, a.last_error,
    ARRAY(
        SELECT c FROM whole_claim c
        WHERE c.assignment_id = a.id
            AND c.state IN ('waiting', 'scheduled', 'granting', 'active', 'revoking')
        ORDER BY c.id
    ) AS claims
FROM assignment a;

-- The votes behind an approval are judged here again: the approval service's word alone opens nothing.
CREATE TABLE witness (
    ticket_id        text NOT NULL,
    target_id        text NOT NULL,
    revision         integer NOT NULL,
    content_hash     text NOT NULL,
    event_id         text NOT NULL,
    received_at      timestamptz NOT NULL,
    votes            jsonb NOT NULL,
    auto_approved_by text,                             -- the rule that asks for no vote
    revisions        jsonb NOT NULL,                   -- the documents it was decided on
    approved_at      timestamptz NOT NULL,
    PRIMARY KEY (ticket_id, target_id, revision)
);

-- Stops that arrived before what they stop: the id of a grant, or of a whole ticket.
CREATE TABLE stop (
    id         text PRIMARY KEY,
    cause      text NOT NULL,
    actor      jsonb NOT NULL,
    why        text NOT NULL,
    stopped_at timestamptz NOT NULL
);

-- One row: the engine that may call AWS. The epoch is the fence on everything the engine writes.
CREATE TABLE lease (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    holder   text NOT NULL,
    epoch    bigint NOT NULL,
    deadline timestamptz NOT NULL
);
INSERT INTO lease (holder, epoch, deadline) VALUES ('nobody', 0, 'epoch');

GRANT SELECT, INSERT, UPDATE ON assignment, claim TO :app;
GRANT SELECT ON whole_claim, whole_assignment TO :app;
GRANT SELECT, INSERT ON witness, stop TO :app;
GRANT SELECT, UPDATE ON lease TO :app;
