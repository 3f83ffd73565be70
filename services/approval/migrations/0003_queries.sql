-- Who has to do with a review, once for each: the lists of people are read along these, and so is what waits for
-- somebody. They replace two tables that had to be put together and sorted for each page.

CREATE TABLE review_person (
    user_id   text NOT NULL,
    review_id text NOT NULL REFERENCES review ON DELETE CASCADE,
    -- Written down as able to vote in the open stage: finds rows for the inbox, never authorises. A superset of
    -- those who may vote now; false once the review is closed.
    waits     boolean NOT NULL,
    state     text NOT NULL DEFAULT 'open', -- the review's
    PRIMARY KEY (user_id, review_id)
);
CREATE INDEX review_person_waiting ON review_person (user_id, review_id) WHERE waits;
CREATE INDEX review_person_state ON review_person (state, user_id, review_id);
CREATE INDEX review_person_of_review ON review_person (review_id);

INSERT INTO review_person (user_id, review_id, waits, state)
SELECT found.user_id, found.review_id, coalesce(bool_or(found.stage = review.stage AND review.state = 'open'), false),
    review.state
FROM (
    SELECT user_id, review_id, NULL::integer AS stage FROM review_party
    UNION ALL SELECT person, review_id, NULL FROM review_voter
    UNION ALL SELECT user_id, review_id, stage FROM review_approver
) AS found JOIN review ON review.id = found.review_id
GROUP BY found.user_id, found.review_id, review.state;

DROP TABLE review_party, review_approver;
DROP INDEX review_voter_of_person; -- by review and person they are unique

GRANT SELECT, INSERT ON review_person TO :app;
GRANT UPDATE (waits, state) ON review_person TO :app;
