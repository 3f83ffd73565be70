"""Mails and what they were about are forgotten a quarter of a year after, and never while they wait."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from services.notifier.domain.known import KnownTicket, needed_until
from services.notifier.store import notices
from services.notifier.store.retention import KEEP, RULES
from shared.contracts.ticket import Ticket
from shared.contracts.windows import WindowAsked
from shared.database.pool import Pool
from shared.database.retention import purge
from tests.notifier.facts import HOUR, a_ticket, extended_ticket, grant, target
from tests.notifier.post import Post
from tests.support.harness import NOW
from tests.support.units import unit

MOMENT = timedelta(microseconds=1)


@pytest.fixture
def pool(post: Post) -> Pool:
    return post.service.context.pool


async def noticed(pool: Pool, *, held: bool = False, overdue: bool = False) -> UUID:
    notice = uuid4()
    await pool.execute(
        """
        INSERT INTO notice
            (id, event_id, ticket_id, type, fact, held, overdue, happened_at, received_at)
        VALUES ($1, $1, 't', 'x', '{}', $2, $3, $4, $4)
        """,
        notice, held, overdue, NOW,
    )  # fmt: skip
    return notice


async def mailed(pool: Pool, *, state: str = "sent", settled_at: datetime | None = NOW) -> None:
    """A mail about one fact, with the link between them."""
    notice, delivery = await noticed(pool), uuid4()
    await pool.execute(
        """
        INSERT INTO delivery (id, ticket_id, template, recipient, message_id, happened_at, state,
            next_attempt_at, give_up_at, address, created_at, settled_at)
        VALUES ($1, 't', 'granted', 'user-ann', 'm', $2, $3, $2, $2, 'ann@example.com', $2, $4)
        """,
        delivery, NOW, state, settled_at,
    )  # fmt: skip
    await pool.execute("INSERT INTO delivery_notice VALUES ($1, 'user-ann', $2)", notice, delivery)


async def left(pool: Pool) -> tuple[int, ...]:
    tables = ("delivery", "delivery_notice", "notice")
    return tuple([await pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables])


@pytest.mark.parametrize("state", ["sent", "failed"])
async def test_a_mail_goes_with_what_it_was_about_just_after_the_limit(pool: Pool, state: str) -> None:
    await mailed(pool, state=state)
    for early in (-MOMENT, timedelta(0)):
        await purge(pool, RULES, now=NOW + KEEP + early)
        assert await left(pool) == (1, 1, 1)
    await purge(pool, RULES, now=NOW + KEEP + MOMENT)
    assert await left(pool) == (0, 0, 0)


@pytest.mark.parametrize("settled_at", [None, NOW])
async def test_a_mail_that_waits_is_never_old(pool: Pool, settled_at: datetime | None) -> None:
    await mailed(pool, state="pending", settled_at=settled_at)
    await purge(pool, RULES, now=NOW + 10 * KEEP)
    assert await left(pool) == (1, 1, 1)


@pytest.mark.parametrize(("held", "overdue", "kept"), [(True, False, 1), (True, True, 0), (False, False, 0)])
async def test_a_fact_that_waits_for_its_ticket_is_never_old(
    pool: Pool, held: bool, overdue: bool, kept: int
) -> None:
    await noticed(pool, held=held, overdue=overdue)
    await purge(pool, RULES, now=NOW + KEEP)
    assert await left(pool) == (0, 0, 1)
    await purge(pool, RULES, now=NOW + KEEP + MOMENT)
    assert await left(pool) == (0, 0, kept)


async def known(pool: Pool, ticket: Ticket, *, at: datetime) -> None:
    async with unit(pool) as work:
        await notices.lock_tickets(work, [ticket.id])
        notices.save_ticket(work, KnownTicket.by(ticket), now=at)


async def test_a_known_ticket_goes_after_the_last_moment_it_names(pool: Pool) -> None:
    ticket = a_ticket()
    assert needed_until(ticket) > NOW
    await known(pool, ticket, at=NOW)
    await purge(pool, RULES, now=needed_until(ticket) + KEEP)
    assert await pool.fetchval("SELECT count(*) FROM known_ticket") == 1
    await purge(pool, RULES, now=needed_until(ticket) + KEEP + MOMENT)
    assert await pool.fetchval("SELECT count(*) FROM known_ticket") == 0


async def test_a_known_ticket_that_came_late_is_kept_from_then_on(pool: Pool) -> None:
    ticket = a_ticket()
    late = needed_until(ticket) + HOUR
    await known(pool, ticket, at=late)
    await purge(pool, RULES, now=late + KEEP)
    assert await pool.fetchval("SELECT count(*) FROM known_ticket") == 1
    await purge(pool, RULES, now=late + KEEP + MOMENT)
    assert await pool.fetchval("SELECT count(*) FROM known_ticket") == 0


LATE = NOW + timedelta(days=900)


@pytest.mark.parametrize(
    "ticket",
    [
        a_ticket(credentials_until=LATE),
        a_ticket(grants=(grant(ends_at=LATE),)),
        a_ticket(grants=(grant(credentials_until=LATE),)),
        a_ticket(targets=(target(expires_at=LATE),)),
        a_ticket(targets=(target(asked=WindowAsked(ends_at=LATE)),)),
        a_ticket(submitted_at=LATE),
    ],
    ids=["credentials", "end", "credentials of a grant", "expiry", "end asked for", "submit"],
)
def test_needed_until_is_the_latest_moment_it_names(ticket: Ticket) -> None:
    assert needed_until(ticket) == LATE


def test_needed_until_counts_a_later_end_that_is_asked_for() -> None:
    ticket = extended_ticket()
    assert needed_until(ticket) == ticket.extensions[0].ends_at
