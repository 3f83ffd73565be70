"""How long claims, and what came about them, are kept: rules for shared/database/retention.py.

In this order: what a claim needs is kept as long as the claim, and the assignment, which remembers that what
is in AWS is JIT's, at least as long as every claim on it.
"""

from datetime import timedelta
from typing import Final

from shared.database.retention import Rule

_CLAIMS: Final = """
    DELETE FROM claim WHERE id IN (
        SELECT c.id FROM claim c
        WHERE c.state IN ('revoked', 'released', 'failed')
            AND greatest(c.ends_at, c.ended_at, c.credentials_until) < $1
            AND NOT EXISTS (SELECT FROM extension e WHERE e.grant_id = c.id AND e.state = 'waiting')
        ORDER BY c.ends_at, c.id LIMIT $2 FOR UPDATE OF c
    )
"""
_EXTENSIONS: Final = """
    DELETE FROM extension WHERE (subject_id, grant_id) IN (
        SELECT e.subject_id, e.grant_id FROM extension e
        WHERE e.state <> 'waiting' AND e.decided_at < $1
            AND NOT EXISTS (SELECT FROM claim c WHERE c.id = e.grant_id)
        ORDER BY e.decided_at, e.subject_id, e.grant_id LIMIT $2 FOR UPDATE OF e
    )
"""
# What vouches for the end of a claim vouches again at a start that is still to come.
_WITNESSES: Final = """
    DELETE FROM witness WHERE (subject_kind, subject_id) IN (
        SELECT w.subject_kind, w.subject_id FROM witness w
        WHERE w.received_at < $1
            AND NOT EXISTS (SELECT FROM claim c WHERE c.subject_id = w.subject_id)
            AND NOT EXISTS (SELECT FROM claim c WHERE c.extension_id = w.subject_id)
            AND NOT EXISTS (SELECT FROM extension e WHERE e.subject_id = w.subject_id)
        ORDER BY w.received_at, w.subject_id LIMIT $2
    )
"""
# Until nothing that they stop can come any more; the app role can neither take one back nor change it.
_STOPS: Final = "SELECT forget_stops($1, $2)"
_STOPS_OF_ALL: Final = "SELECT forget_stops_of_all($1, $2)"
# One of ours that was not seen gone for that long is never forgotten: it would look like somebody else's, and
# those are not deleted.
_ASSIGNMENTS: Final = """
    DELETE FROM assignment WHERE id IN (
        SELECT a.id FROM assignment a
        WHERE a.desired = 'absent' AND a.next_at IS NULL AND a.op_kind IS NULL
            AND (NOT a.ours OR a.closed_at < $1)
            AND NOT EXISTS (SELECT FROM claim c WHERE c.assignment_id = a.id)
        ORDER BY a.id LIMIT $2 FOR UPDATE OF a
    )
"""
# Who signs in again finds it anew, under another id.
_CONFLICTS: Final = """
    DELETE FROM binding_conflict WHERE id IN (
        SELECT id FROM binding_conflict WHERE found_at < $1 ORDER BY found_at, id LIMIT $2 FOR UPDATE
    )
"""
KEEP_CONFLICTS: Final = timedelta(days=90)


def rules(*, keep: timedelta) -> tuple[Rule, ...]:
    return (
        Rule("claim", keep, _CLAIMS),
        Rule("extension", keep, _EXTENSIONS),
        Rule("witness", keep, _WITNESSES),
        Rule("stop", timedelta(0), _STOPS),
        Rule("stop_of_all", timedelta(0), _STOPS_OF_ALL),
        Rule("assignment", keep, _ASSIGNMENTS),
        Rule("binding_conflict", KEEP_CONFLICTS, _CONFLICTS),
    )
