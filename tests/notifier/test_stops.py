"""Mails about stops, which may come before their ticket and may be readable by their ids alone."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.notifier.background.loops import monitor
from shared.contracts import topics
from shared.contracts.stop import StopFact, TicketReturned, TicketTerminated, TicketWithdrawn
from shared.contracts.ticket import Ticket, TicketApproved
from tests.notifier.facts import BOB, GRANT, TWO, a_ticket, access_fact, grant, ticket_fact
from tests.notifier.post import Post
from tests.support.harness import NOW
from tests.support.signing import signed
from tests.support.stops import GARBLED, body_of, stop_of
from tests.support.work import record_of

SECOND = timedelta(seconds=1)
TERMINATED = "Access stopped"


def stop(of: Ticket | None = None, cls: type[StopFact] = TicketTerminated, **fields: Any) -> StopFact:
    of = of or a_ticket(grants=(grant(granted_at=NOW),))
    return stop_of(cls, of, **({"actor": BOB, "why": "no longer needed", "at": NOW + SECOND} | fields))


async def known(post: Post, of: Ticket | None = None) -> None:
    """The ticket's submit, mailed."""
    await post.take(ticket_fact(whole=of))
    await post.send_gathered()


async def take(post: Post, fact: StopFact, kind: str) -> None:
    """Delivered twice."""
    made = record_of(topics.STOP, fact)
    value = GARBLED[kind](body_of(fact))
    garbled = signed(replace(made, value=json.dumps(value).encode()))
    for _ in range(2):
        assert await post.service.consumer.replay(garbled) == "handled"


def mails(post: Post, name: str) -> list[tuple[str, str]]:
    """Headline and text of each."""
    texts = [mail.text or "" for mail in post.to(name)]
    return [(text.splitlines()[0], text) for text in texts]


@pytest.mark.parametrize(
    ("cls", "headline"),
    [
        (TicketTerminated, TERMINATED),
        (TicketReturned, "Access given back"),
        (TicketWithdrawn, "Request withdrawn"),
    ],
)
async def test_stop_is_mailed_once_to_who_asked_and_who_had_it(
    post: Post, cls: type[StopFact], headline: str
) -> None:
    await known(post)
    await post.take(stop(cls=cls))
    await post.send_gathered()
    for name in ("ann", "bob"):
        assert [head for head, _ in mails(post, name)] == ["Request submitted", headline]


async def test_stop_before_any_other_fact_of_its_ticket_is_told_at_once(post: Post) -> None:
    await post.take(stop())
    await post.send_all()
    ((head, text),) = mails(post, "ann")
    assert head == TERMINATED
    assert "Administrator on prod-payments" in text


async def test_stop_is_no_news_of_its_ticket(post: Post) -> None:
    """What is known of a ticket has an order, in which a stop has no place: nothing is older for it."""
    await post.take(stop(version=99))
    assert await post.context.pool.fetchval("SELECT count(*) FROM known_ticket") == 0
    await known(post)
    await post.take(ticket_fact(TicketApproved, a_ticket(version=2)))
    version = "SELECT (body -> 'ticket' ->> 'version')::int FROM known_ticket"
    assert await post.context.pool.fetchval(version) == 2


@pytest.mark.parametrize("kind", GARBLED)
async def test_stop_of_which_only_the_ids_can_be_read_is_mailed_by_what_is_known(
    post: Post, kind: str
) -> None:
    await known(post)
    await take(post, stop(), kind)
    await post.send_all()
    (_, (head, text)) = mails(post, "ann")
    assert head == TERMINATED
    assert "Administrator on prod-payments" in text
    assert "before AWS had confirmed it" not in text, "whether it was given is not known"
    assert len(mails(post, "bob")) == 2


async def test_stop_of_one_grant_without_its_ticket_is_told_to_its_holder_and_who_asked(post: Post) -> None:
    await known(post, TWO)
    await take(post, stop(TWO, grants=(GRANT,)), "the least")
    await post.send_all()
    assert [len(mails(post, name)) for name in ("ann", "bob", "eve")] == [2, 2, 1]


@pytest.mark.parametrize("kind", ["the least", "garbage for a ticket"])
async def test_stop_without_its_ticket_waits_until_that_is_known(post: Post, kind: str) -> None:
    await take(post, stop(), kind)
    assert await post.send_all() == []
    await known(post)
    assert sorted(head for head, _ in mails(post, "ann")) == [TERMINATED, "Request submitted"]


async def test_stop_whose_ticket_never_comes_is_told_to_nobody_and_costs_nobody_anything(post: Post) -> None:
    await take(post, stop(), "the least")
    post.clock.advance(post.settings.mail_hold + SECOND)
    await monitor(post.context, post.settings)
    assert await post.send_all() == []
    await post.take(access_fact())
    await known(post)
    assert "Access granted" in [head for head, _ in mails(post, "ann")]


async def test_stop_of_grants_that_are_not_known_says_who_and_why(post: Post) -> None:
    """As after a revision that has not come: who asked is told all the same."""
    await known(post)
    await take(post, stop(grant_ids=("of-another-revision",)), "no ticket")
    await post.send_all()
    (_, (head, text)) = mails(post, "bob")
    assert head == TERMINATED
    assert "no longer needed" in text
    assert len(mails(post, "ann")) == 1
