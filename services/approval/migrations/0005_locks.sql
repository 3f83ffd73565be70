-- Lock the ticket of a review, and read the review as it is once the lock is ours: one call instead of two. The
-- reading is a statement of its own: one sees what was committed when it began, and the lock may have waited for
-- another vote.
CREATE FUNCTION locked_review(wanted text) RETURNS SETOF whole_review
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM FROM ticket WHERE id = (SELECT ticket_id FROM review WHERE id = wanted) FOR UPDATE;
    RETURN QUERY SELECT r.* FROM whole_review r WHERE r.id = wanted;
END
$$;
REVOKE ALL ON FUNCTION locked_review FROM PUBLIC;
GRANT EXECUTE ON FUNCTION locked_review TO :app;
