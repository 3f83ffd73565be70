-- Reviews, their votes, and what is known of the tickets they belong to.

-- One row per ticket that an event was about. Its lock orders everything that is published about the
-- ticket, since events carry the ticket's id as their key.
CREATE TABLE ticket (
    id      text PRIMARY KEY,
    version bigint NOT NULL CHECK (version >= 0) -- the newest that came
);

-- Stops are absorbing: kept also when they arrive before what they stop. A later revision is not stopped.
CREATE TABLE stop (
    kind      text NOT NULL CHECK (kind IN ('target', 'grant', 'extension')),
    id        text NOT NULL,
    revision  integer NOT NULL, -- of a target: this one and every earlier one
    ticket_id text NOT NULL REFERENCES ticket,
    why       text NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (kind, id, revision) -- only added: nothing lowers a revision or takes a stop back
);
CREATE INDEX stop_of_ticket ON stop (ticket_id);

CREATE TABLE review (
    id                 text PRIMARY KEY,
    ticket_id          text NOT NULL REFERENCES ticket,
    target_id          text NOT NULL,
    revision           integer NOT NULL,
    subject_id         text NOT NULL,
    subject_kind       text NOT NULL CHECK (subject_kind IN ('target', 'extension')),
    ticket_version     bigint NOT NULL,
    requester          text NOT NULL,
    account_id         text NOT NULL,
    set_id             text NOT NULL,
    subject            jsonb NOT NULL, -- as frozen when the review opened
    stages             jsonb NOT NULL,
    revisions          jsonb NOT NULL,
    state              text NOT NULL CHECK (state IN ('open', 'approved', 'rejected', 'voided')),
    version            bigint NOT NULL CHECK (version > 0),
    stage              integer NOT NULL,
    auto_approved_by   text,
    unapprovable_since timestamptz, -- too few people are left to approve it; while open only
    code               text CHECK (code IN ('rejected', 'no_rule', 'unapprovable')),
    approved_window    jsonb,
    content_hash       text,
    opened_at          timestamptz NOT NULL,
    expires_at         timestamptz NOT NULL,
    closed_at          timestamptz,
    CHECK ((state = 'open') = (closed_at IS NULL)),
    CHECK ((state = 'approved') = (content_hash IS NOT NULL)),
    CHECK ((state = 'rejected') = (code IS NOT NULL)),
    CHECK (unapprovable_since IS NULL OR state = 'open')
);
-- A subject is reviewed by one review at a time.
CREATE UNIQUE INDEX review_open ON review (subject_id) WHERE state = 'open';
CREATE INDEX review_of_subject ON review (subject_id);
CREATE INDEX review_of_ticket ON review (ticket_id, id);
CREATE INDEX review_of_target ON review (target_id, revision);
CREATE INDEX review_by_state ON review (state, id);
CREATE INDEX review_rejected ON review (requester, account_id, set_id) WHERE code = 'rejected';
CREATE INDEX review_unapprovable ON review (id) WHERE unapprovable_since IS NOT NULL;

CREATE TABLE vote (
    id        text PRIMARY KEY,
    review_id text NOT NULL REFERENCES review,
    number    integer NOT NULL CHECK (number > 0),
    body      jsonb NOT NULL,
    at        timestamptz NOT NULL,
    UNIQUE (review_id, number)
);

-- Whom votes have used up: a vote's voter, and who they acted for. A person counts once per review, whatever
-- the stage, and whether they voted or somebody did for them.
CREATE TABLE review_voter (
    review_id text NOT NULL REFERENCES review,
    person    text NOT NULL,
    vote_id   text NOT NULL REFERENCES vote DEFERRABLE INITIALLY DEFERRED, -- written before the vote itself
    UNIQUE (review_id, person)
);
CREATE INDEX review_voter_of_person ON review_voter (person, review_id);

-- Who could vote when a stage opened, kept up to date with memberships: finds rows for the inbox, never
-- authorises. A superset of those who may vote now.
CREATE TABLE review_approver (
    user_id   text NOT NULL,
    review_id text NOT NULL REFERENCES review,
    stage     integer NOT NULL,
    PRIMARY KEY (user_id, review_id, stage)
);
CREATE INDEX review_approver_of_review ON review_approver (review_id, stage);

CREATE TABLE review_party (
    user_id   text NOT NULL,
    review_id text NOT NULL REFERENCES review,
    PRIMARY KEY (user_id, review_id)
);

-- Grants approved here, and perhaps extended, whose end is not over and that no stop named: "other live
-- grants" in an approver's mail. Whether AWS has them is the provisioner's to say.
CREATE TABLE live_grant (
    grant_id    text PRIMARY KEY,
    review_id   text NOT NULL REFERENCES review,
    beneficiary text NOT NULL,
    ends_at     timestamptz NOT NULL
);
CREATE INDEX live_grant_of ON live_grant (beneficiary, ends_at);
CREATE INDEX live_grant_end ON live_grant (ends_at);

-- A review with its votes as one JSON object, named field by field once and read as domain.review.Review.
CREATE VIEW whole_review AS
SELECT
    r.id,
    r.ticket_id,
    r.state,
    r.stage,
    jsonb_build_object(
        'id', r.id,
        'ticket_version', r.ticket_version,
        'subject', r.subject,
        'stages', r.stages,
        'revisions', r.revisions,
        'opened_at', r.opened_at,
        'state', r.state,
        'version', r.version,
        'stage', r.stage,
        'auto_approved_by', r.auto_approved_by,
        'code', r.code,
        'unapprovable_since', r.unapprovable_since,
        'approved_window', r.approved_window,
        'content_hash', r.content_hash,
        'closed_at', r.closed_at,
        'votes', coalesce(
            (SELECT jsonb_agg(v.body ORDER BY v.number) FROM vote v WHERE v.review_id = r.id), '[]'
        )
    ) AS whole
FROM review r;

GRANT SELECT, INSERT, UPDATE ON ticket, review TO :app;
GRANT SELECT, INSERT ON stop, vote, review_voter, review_party TO :app;
GRANT SELECT, INSERT, DELETE ON review_approver, live_grant TO :app;
GRANT UPDATE (ends_at) ON live_grant TO :app;
GRANT SELECT ON whole_review TO :app;
