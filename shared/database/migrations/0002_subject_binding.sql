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

GRANT SELECT, INSERT ON subject_binding TO :app;
