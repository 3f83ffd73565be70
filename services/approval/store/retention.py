"""How long reviews and stops are kept: rules for shared/database/retention.py.

With a review go its votes and voters, and who it is about.
"""

from datetime import timedelta
from typing import Final

from shared.database.retention import Rule

# A grant that is still live, perhaps because it was extended, keeps the review that approved it.
_REVIEWS: Final = """
    DELETE FROM review WHERE id IN (
        SELECT r.id FROM review r
        WHERE r.closed_at < $1
            AND coalesce((r.approved_window ->> 'ends_at')::timestamptz, r.closed_at) < $1
            AND NOT EXISTS (SELECT FROM live_grant g WHERE g.review_id = r.id)
        ORDER BY r.closed_at, r.id LIMIT $2 FOR UPDATE OF r
    )
"""
# Until nothing that they stop can come any more; the app role can neither take one back nor change it.
_STOPS: Final = "SELECT forget_stops($1, $2)"
# A row has no time of its own; its id, a UUIDv7, begins with the milliseconds at which the ticket was made.
_TICKETS: Final = """
    DELETE FROM ticket WHERE id IN (
        SELECT t.id FROM ticket t,
            (SELECT lpad(to_hex((extract(epoch FROM $1::timestamptz) * 1000)::bigint), 12, '0')) AS made (hex)
        WHERE t.id < left(made.hex, 8) || '-' || right(made.hex, 4)
            AND NOT EXISTS (SELECT FROM review r WHERE r.ticket_id = t.id)
            AND NOT EXISTS (SELECT FROM stop s WHERE s.ticket_id = t.id)
        ORDER BY t.id LIMIT $2 FOR UPDATE OF t
    )
"""


def rules(*, keep: timedelta) -> tuple[Rule, ...]:
    return (
        Rule("review", keep, _REVIEWS, batch=500),
        Rule("stop", timedelta(0), _STOPS),
        Rule("ticket", keep, _TICKETS),
    )
