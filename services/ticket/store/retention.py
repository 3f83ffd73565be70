"""How long tickets are kept: a rule for shared/database/retention.py.

With a ticket go its parties, targets, revisions, grants and extensions.
"""

from datetime import timedelta
from typing import Final

from shared.database.retention import Rule

# Everything about it must have been over for that long: its grants and credentials, every decision, and what
# was asked for. A ticket of which something waits, is live, or has still to be closed is never old.
_TICKETS: Final = """
    DELETE FROM ticket WHERE id IN (
        SELECT t.id FROM ticket t
        WHERE t.submitted_at < $1 AND t.times_out_at IS NULL AND t.closes_at IS NULL
            AND coalesce(t.closed_at, t.submitted_at) < $1
            AND NOT EXISTS (
                SELECT FROM ticket_grant g WHERE g.ticket_id = t.id
                    AND (g.live OR greatest(g.ends_at, g.ended_at, g.credentials_until) >= $1)
            )
            AND NOT EXISTS (
                SELECT FROM ticket_target p JOIN target_revision r ON r.target_id = p.id
                WHERE p.ticket_id = t.id AND greatest(r.submitted_at, r.decided_at) >= $1
            )
            AND NOT EXISTS (
                SELECT FROM ticket_extension e
                WHERE e.ticket_id = t.id AND greatest(e.submitted_at, e.decided_at) >= $1
            )
        ORDER BY t.submitted_at, t.id LIMIT $2 FOR UPDATE OF t
    )
"""


def rules(*, keep: timedelta) -> tuple[Rule, ...]:
    return (Rule("ticket", keep, _TICKETS, batch=200),)
