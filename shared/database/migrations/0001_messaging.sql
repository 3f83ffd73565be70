-- Messaging, documents, HTTP idempotency and people's tokens; the same tables in every service's database.
-- :app is the service's app role, which owns nothing and gets what it needs and no more.

CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id   uuid NOT NULL UNIQUE,
    topic      text NOT NULL,
    key        text NOT NULL,
    type       text NOT NULL,
    payload    bytea NOT NULL CHECK (octet_length(payload) < 900000), -- a row the broker refuses would block the head for ever
    headers    jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    sent_at    timestamptz
);
-- The relay reads the unsent head by id; never by "id > last", since ids are taken before commit.
CREATE INDEX outbox_unsent ON outbox (id) WHERE sent_at IS NULL;
CREATE INDEX outbox_created ON outbox (created_at);

CREATE FUNCTION outbox_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('outbox', '');
    RETURN NULL;
END $$;
CREATE TRIGGER outbox_notify AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION outbox_notify();

-- An event's id is its source's own: one that another service made up must not stand for it.
CREATE TABLE inbox (
    event_id    uuid NOT NULL,
    source      text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (event_id, source)
);
CREATE INDEX inbox_received ON inbox (received_at);

CREATE TABLE dead_letter (
    id          uuid PRIMARY KEY,
    topic       text NOT NULL,
    partition   integer NOT NULL,
    "offset"    bigint NOT NULL,
    key         bytea,
    value       bytea,
    headers     jsonb NOT NULL,
    error       text NOT NULL,
    parked_at   timestamptz NOT NULL,
    replayed_at timestamptz,
    UNIQUE (topic, partition, "offset", parked_at)
);

CREATE TABLE document (
    kind     text NOT NULL,
    id       text NOT NULL,
    revision bigint NOT NULL,
    deleted  boolean NOT NULL DEFAULT false,
    body     jsonb NOT NULL,
    PRIMARY KEY (kind, id)
);

-- One row: writers of documents queue here, so revisions and outbox ids agree on the order.
CREATE TABLE document_counter (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision bigint NOT NULL,
    count    bigint NOT NULL,
    digest   bytea NOT NULL CHECK (octet_length(digest) = 32)
);
INSERT INTO document_counter (revision, count, digest) VALUES (0, 0, decode(repeat('00', 32), 'hex'));

CREATE TABLE idempotency_key (
    caller       text NOT NULL,
    key          text NOT NULL,
    request_hash text NOT NULL,
    status       integer,
    body         jsonb,
    headers      jsonb,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (caller, key)
);
CREATE INDEX idempotency_key_created ON idempotency_key (created_at);

-- Which Identity Store user a token's subject was at first sight. A service only ever adds rows: a
-- subject that turns up as somebody else is refused, and an administrator of the database clears it.

CREATE TABLE subject_binding (
    iss        text NOT NULL,
    sub        text NOT NULL,
    user_id    text NOT NULL,
    first_seen timestamptz NOT NULL,
    PRIMARY KEY (iss, sub),
    UNIQUE (iss, user_id)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, inbox, idempotency_key TO :app;
GRANT SELECT, INSERT, UPDATE ON dead_letter, document TO :app;
GRANT SELECT, UPDATE ON document_counter TO :app;
GRANT SELECT, INSERT ON subject_binding TO :app;
