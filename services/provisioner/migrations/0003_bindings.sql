-- Whom tokens name: which user a subject is, per issuer, for the whole system. Published as documents; this is
-- where two first sights at once are told apart, and where what was killed stays known.

CREATE TABLE binding (
    iss       text NOT NULL,
    sub       text NOT NULL,
    user_id   text NOT NULL,
    bound_at  timestamptz NOT NULL,
    killed_at timestamptz, -- a rebinding took its place, for ever
    PRIMARY KEY (iss, sub, user_id)
);
CREATE UNIQUE INDEX binding_of_subject ON binding (iss, sub) WHERE killed_at IS NULL;
CREATE UNIQUE INDEX binding_of_user ON binding (iss, user_id) WHERE killed_at IS NULL;
CREATE INDEX binding_by_user ON binding (iss, user_id);

CREATE FUNCTION killed_for_ever() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF OLD.killed_at IS NOT NULL THEN
        RAISE EXCEPTION 'the binding of subject % is over for ever', OLD.sub USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER binding_killed_for_ever BEFORE UPDATE ON binding FOR EACH ROW EXECUTE FUNCTION killed_for_ever();

-- A token that holds named a user who is not its subject's. One row however often it comes.
CREATE TABLE binding_conflict (
    id                 uuid PRIMARY KEY,
    iss                text NOT NULL,
    sub                text NOT NULL,
    user_id            text NOT NULL,
    bound_user_id      text, -- whom the subject was bound to when it was found
    bound_sub          text, -- what subject the user was bound to then
    lookup             text NOT NULL, -- by what the token named the user
    lookup_value       text NOT NULL,
    external_id_issuer text NOT NULL,
    proof              text NOT NULL, -- SHA-256 over what names the one token
    found_at           timestamptz NOT NULL,
    settled_at         timestamptz,
    UNIQUE (iss, sub, user_id),
    CHECK (bound_user_id IS NOT NULL OR bound_sub IS NOT NULL)
);
CREATE INDEX binding_conflict_open ON binding_conflict (id) WHERE settled_at IS NULL;

GRANT SELECT, INSERT ON binding TO :app;
GRANT UPDATE (killed_at) ON binding TO :app;
GRANT SELECT, INSERT, UPDATE ON binding_conflict TO :app;
REVOKE ALL ON FUNCTION killed_for_ever FROM PUBLIC;
