-- Whose targets a list is searched by: a row for each account and each set of a ticket, in the order of tickets.
-- A ticket may name an account in several targets; these are distinct, so that a page is a walk along one index.

CREATE TABLE ticket_account (
    account_id text NOT NULL,
    ticket_id  uuid NOT NULL REFERENCES ticket ON DELETE CASCADE,
    PRIMARY KEY (account_id, ticket_id)
);
CREATE INDEX ticket_account_of_ticket ON ticket_account (ticket_id);

CREATE TABLE ticket_set (
    set_id    text NOT NULL,
    ticket_id uuid NOT NULL REFERENCES ticket ON DELETE CASCADE,
    PRIMARY KEY (set_id, ticket_id)
);
CREATE INDEX ticket_set_of_ticket ON ticket_set (ticket_id);

INSERT INTO ticket_account (account_id, ticket_id) SELECT DISTINCT account_id, ticket_id FROM ticket_target;
INSERT INTO ticket_set (set_id, ticket_id) SELECT DISTINCT set_id, ticket_id FROM ticket_target;

-- They follow from the targets, whose account and set never change, and are written with them.
CREATE FUNCTION note_account_and_set() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO ticket_account (account_id, ticket_id) SELECT DISTINCT account_id, ticket_id FROM added
        ON CONFLICT DO NOTHING;
    INSERT INTO ticket_set (set_id, ticket_id) SELECT DISTINCT set_id, ticket_id FROM added
        ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER ticket_target_added AFTER INSERT ON ticket_target REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION note_account_and_set();
REVOKE ALL ON FUNCTION note_account_and_set FROM PUBLIC;

-- They began the search and are not needed for it any more.
DROP INDEX ticket_target_account, ticket_target_set;

GRANT SELECT ON ticket_account, ticket_set TO :app;
