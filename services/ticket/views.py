"""Read-only SQL for what people see of tickets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, LiteralString

from shared.contracts.ticket import Target, Ticket, TicketState
from shared.database.filters import Where, given, one_of, query
from shared.database.pool import Conn


@dataclass(frozen=True)
class Filter:
    """Which tickets a list shows; None means any."""

    party: str | None = None
    """A user id: their own tickets, as requester or beneficiary."""
    state: str | None = None
    account_id: str | None = None
    set_id: str | None = None
    requester: str | None = None
    beneficiary: str | None = None
    reference: str | None = None
    before: str | None = None
    """The last id of the page before: ids are ordered by submission, newest first."""
    limit: int = 50


async def ticket(conn: Conn, ticket_id: str) -> Ticket | None:
    whole = await conn.fetchval("SELECT whole FROM whole_ticket WHERE id = $1", ticket_id)
    return None if whole is None else Ticket.model_validate(whole)


async def earlier_revisions(
    conn: Conn, ticket_id: str, *, before: str | None = None, limit: int = 50
) -> list[Target]:
    """Targets of a ticket as they were asked for before, the last first; `before` is a subject's id."""
    wanted = given(("ticket_id = {}", ticket_id), ("subject_id < {}", before))
    found = await conn.fetch(*query(_EARLIER, wanted, limit=limit))
    return [Target.model_validate(row["whole"]) for row in found]


async def tickets(conn: Conn, wanted: Filter) -> list[Ticket]:
    """A page, newest first."""
    found = await conn.fetch(*query(_PAGE, _matching(wanted), limit=wanted.limit))
    return [Ticket.model_validate(row["whole"]) for row in found]


# The whole ticket is looked up for each row of the page: PostgreSQL takes a page for a tenth of all rows, and
# would rather join all of them.
_PAGE: Final = """
    WITH page AS (SELECT id FROM ticket WHERE {where} ORDER BY id DESC LIMIT {limit})
    SELECT (SELECT whole FROM whole_ticket WHERE whole_ticket.id = page.id) AS whole
    FROM page ORDER BY id DESC
"""
_EARLIER: Final = """
    SELECT whole FROM whole_target WHERE {where} AND NOT current ORDER BY subject_id DESC LIMIT {limit}
"""

# Each is read backwards from the end of the page before, along its index, and is distinct, so that it may be
# what the list is read by.
_OF_PARTY: Final = """id IN (
    SELECT ticket_id FROM ticket_party WHERE user_id = {} AND ticket_id < {}
)"""
_OF_BENEFICIARY: Final = """id IN (
    SELECT ticket_id FROM ticket_party WHERE user_id = {} AND benefits AND ticket_id < {}
)"""
_OF_ACCOUNT: Final = """id IN (
    SELECT ticket_id FROM ticket_account WHERE account_id = {} AND ticket_id < {}
)"""
_OF_SET: Final = """id IN (
    SELECT ticket_id FROM ticket_set WHERE set_id = {} AND ticket_id < {}
)"""
_IN_STATE: Final[Mapping[str, LiteralString]] = {
    TicketState.PENDING: "state = 'pending'",
    TicketState.SCHEDULED: "state = 'scheduled'",
    TicketState.GRANTING: "state = 'granting'",
    TicketState.ACTIVE: "state = 'active'",
    TicketState.REVOKING: "state = 'revoking'",
    TicketState.ENDED: "state = 'ended'",
    TicketState.REJECTED: "state = 'rejected'",
    TicketState.TIMED_OUT: "state = 'timed_out'",
    TicketState.WITHDRAWN: "state = 'withdrawn'",
    TicketState.FAILED: "state = 'failed'",
    TicketState.CLOSED: "state = 'closed'",
}
"""Most tickets are closed, and few wait or are active."""
_END: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""Behind every id: where the first page begins."""


def _matching(wanted: Filter) -> Where:
    before = wanted.before or _END
    return given(
        ("id < {}", before),
        one_of(_IN_STATE, wanted.state),
        ("requester = {}", wanted.requester),
        ("reference = {}", wanted.reference),
        (_OF_PARTY, wanted.party, before),
        (_OF_BENEFICIARY, wanted.beneficiary, before),
        (_OF_ACCOUNT, wanted.account_id, before),
        (_OF_SET, wanted.set_id, before),
    )
