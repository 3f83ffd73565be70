-- Claims, the assignments they are about, extensions, witnesses, stops that came first, the engine's lease.
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
    subject_id       text NOT NULL,                    -- the approval subject: the target in this revision
    extension_id     text,                             -- the subject that its end comes from, once extended
    user_id          text NOT NULL,
    account_id       text NOT NULL,
    set_id           text NOT NULL,
    set_digest       text NOT NULL,
    content_hash     text NOT NULL,                    -- of what vouches for its end: subject or extension
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
CREATE INDEX claim_ticket ON claim (ticket_id, target_id);
CREATE INDEX claim_subject ON claim (subject_id);
CREATE INDEX claim_user ON claim (user_id, id DESC);
CREATE INDEX claim_account ON claim (account_id, id DESC);
-- The expiry producer's: holds open claims only, so an end costs the same however many ever ended.
CREATE INDEX claim_open_end ON claim (ends_at) WHERE state IN ('waiting', 'scheduled', 'granting', 'active');
CREATE INDEX claim_unwitnessed ON claim (received_at) WHERE state = 'waiting';
CREATE INDEX claim_revoking ON claim (ended_at) WHERE state = 'revoking';

-- A later end for a claim, as ticket says it was approved. Changed under the lock of the claim's assignment;
-- while there is no claim, under the ticket's. What it is for is ticket's word until there is a claim: it
-- counts for a claim of the same ticket and target only.
CREATE TABLE extension (
    subject_id   text NOT NULL,                        -- the approval subject
    grant_id     text NOT NULL,                        -- the claim's id; it may come later
    ticket_id    text NOT NULL,
    target_id    text NOT NULL,
    revision     integer NOT NULL,                     -- the target's, whose access it extends
    instance     text NOT NULL,
    user_id      text NOT NULL,
    account_id   text NOT NULL,
    set_id       text NOT NULL,
    ended_before timestamptz NOT NULL,                 -- the end as ticket knew it
    starts_at    timestamptz NOT NULL,                 -- the first start
    ends_at      timestamptz NOT NULL CHECK (ends_at > starts_at),
    content_hash text NOT NULL,
    requester    text NOT NULL,                        -- user id: no vote of theirs
    state        text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'extended', 'failed')),
    code         text,                                 -- why it failed
    detail       text NOT NULL DEFAULT '',
    received_at  timestamptz NOT NULL,
    next_at      timestamptz NOT NULL,                 -- when it is looked at again, while it waits
    decided_at   timestamptz,
    cause        text,                                 -- id of the event it came from
    PRIMARY KEY (subject_id, grant_id)
);
-- Few wait, and not for long: these hold those only.
CREATE INDEX extension_grant ON extension (grant_id) WHERE state = 'waiting';
CREATE INDEX extension_ticket ON extension (ticket_id) WHERE state = 'waiting';
CREATE INDEX extension_due ON extension (next_at) WHERE state = 'waiting';

CREATE VIEW whole_extension AS
SELECT
    subject_id, grant_id, ticket_id, target_id, revision, instance, user_id, account_id, set_id, ended_before,
    starts_at, ends_at, content_hash, requester, state, code, detail, received_at, decided_at, cause
FROM extension;

-- How claim and assignment are read, the columns of each named once: a claim with the extensions that wait,
-- an assignment with the claims that are not closed, as rows by id.
CREATE VIEW whole_claim AS
SELECT
    c.id, c.assignment_id, c.instance, c.ticket_id, c.target_id, c.revision, c.subject_id, c.extension_id,
    c.user_id, c.account_id, c.set_id, c.set_digest, c.content_hash, c.session_duration, c.starts_at,
    c.ends_at, c.state, c.version, c.received_at, c.parties, c.duration_asked, c.approval_holds, c.cause,
    c.granted_at, c.already_held, c.request_id, c.ended_at, c.end_cause, c.code, c.detail, c.kept_by,
    c.overdue_at, c.seen_at, c.credentials_until,
    ARRAY(
        SELECT e FROM whole_extension e
        WHERE e.grant_id = c.id AND e.ticket_id = c.ticket_id AND e.target_id = c.target_id
            AND e.state = 'waiting'
        ORDER BY e.ends_at, e.subject_id
    ) AS extensions
FROM claim c;

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
    subject_kind     text NOT NULL CHECK (subject_kind IN ('target', 'extension')),
    subject_id       text NOT NULL,
    ticket_id        text NOT NULL,
    content_hash     text NOT NULL,
    event_id         text NOT NULL,
    received_at      timestamptz NOT NULL,
    votes            jsonb NOT NULL,
    auto_approved_by text,                             -- the rule that asks for no vote
    revisions        jsonb NOT NULL,                   -- the documents it was decided on
    approved_at      timestamptz NOT NULL,
    PRIMARY KEY (subject_kind, subject_id)
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

-- What was approved stays as it came: only what a step or an extension moves can be updated.
GRANT SELECT, INSERT, UPDATE ON assignment TO :app;
GRANT SELECT, INSERT ON claim, extension TO :app;
GRANT UPDATE (
    state, version, granted_at, already_held, request_id, ended_at, end_cause, code, detail, kept_by,
    overdue_at, credentials_until, approval_holds, seen_at, ends_at, content_hash, duration_asked,
    extension_id, parties
) ON claim TO :app;
GRANT UPDATE (state, code, detail, decided_at, next_at) ON extension TO :app;
GRANT SELECT ON whole_extension, whole_claim, whole_assignment TO :app;
GRANT SELECT, INSERT ON witness, stop TO :app;
GRANT SELECT, UPDATE ON lease TO :app;
