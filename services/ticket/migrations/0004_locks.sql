-- Lock tickets, in the order of ids, and read them as they are once the locks are ours: one call instead of two.
-- The reading is a statement of its own: one sees what was committed when it began, and the lock may have waited
-- for a writer.
CREATE FUNCTION locked_tickets(wanted uuid[]) RETURNS SETOF whole_ticket
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM FROM ticket WHERE id = ANY (wanted) ORDER BY id FOR UPDATE;
    RETURN QUERY SELECT t.* FROM whole_ticket t WHERE t.id = ANY (wanted) ORDER BY t.id;
END
$$;
REVOKE ALL ON FUNCTION locked_tickets FROM PUBLIC;
GRANT EXECUTE ON FUNCTION locked_tickets TO :app;
