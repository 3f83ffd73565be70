-- Lock assignments, in the order of ids, and read them as they are once the locks are ours: one call instead of
-- two. The reading is a statement of its own, since one that waited for a lock shows the claims as they were
-- before.
CREATE FUNCTION locked_assignments(wanted bigint[]) RETURNS SETOF whole_assignment
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM FROM assignment WHERE id = ANY (wanted) ORDER BY id FOR UPDATE;
    RETURN QUERY SELECT a.* FROM whole_assignment a WHERE a.id = ANY (wanted) ORDER BY a.id;
END
$$;
REVOKE ALL ON FUNCTION locked_assignments FROM PUBLIC;
GRANT EXECUTE ON FUNCTION locked_assignments TO :app;
