"""Facts of one kind about one ticket become one mail a person: against a real database and receiver."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

import pytest

from services.notifier.background.sending import TOGETHER_WITHIN, send_due
from services.notifier.domain.delivery import Accepted, Outcome
from services.notifier.email.smtp import Mailer
from services.notifier.store import deliveries
from shared.contracts import access, stop, ticket
from shared.contracts.event import Event
from shared.contracts.identity import IdentityRebound
from shared.contracts.notification import NotificationSent
from shared.foundation.clock import new_id
from tests.notifier.facts import (
    HOUR,
    a_ticket,
    access_fact,
    grant,
    person,
    second_target,
    stage_opened,
    target,
    ticket_fact,
    wide_ticket,
)
from tests.notifier.post import Post
from tests.support.facts import example
from tests.support.harness import NOW, empty, said
from tests.support.organisation import user_id
from tests.support.work import deliver

TARGETS = 47
SECOND = timedelta(seconds=1)


async def take_all(post: Post, events: Iterable[Event]) -> None:
    """Fact after fact, half a second apart, as a large ticket is decided and granted."""
    for event in events:
        await deliver(post.service, event)
        post.clock.advance(SECOND / 2)
        await post.send_all()
    await post.send_gathered()


def per_target(cls: type[access.AccessFact], at: timedelta, count: int = TARGETS) -> list[Event]:
    return [
        access_fact(cls, at=NOW + at, grant_id=f"g{n}", target_id=f"t{n}", account_id=f"{n:012}")
        for n in range(1, count + 1)
    ]


def heads(post: Post, name: str) -> Counter[str]:
    return Counter((mail.text or "").splitlines()[0] for mail in post.to(name))


async def test_ticket_of_47_targets_makes_one_mail_per_person_and_change(post: Post) -> None:
    whole = wide_ticket(TARGETS)
    numbers = range(1, TARGETS + 1)
    stages = [stage_opened(review_id=f"review-{n}", target_id=f"t{n}") for n in numbers]
    await take_all(post, [ticket_fact(whole=whole), *stages])
    await take_all(
        post,
        [
            ticket_fact(
                ticket.TicketApproved,
                whole.model_copy(update={"version": 1 + n}),
                at=NOW + HOUR,
                target_ids=(f"t{n}",),
            )
            for n in numbers
        ],
    )
    for hours, cls in ((2, access.AccessGranted), (3, access.AccessRevoked)):
        await take_all(post, per_target(cls, hours * HOUR))
    once_each = dict.fromkeys(("Request submitted", "Request approved", "Access granted", "Access ended"), 1)
    assert heads(post, "ann") == heads(post, "bob") == once_each
    assert heads(post, "carl") == heads(post, "cora") == {"Your approval is needed": 1}
    for mail in (*post.to("ann"), *post.to("carl")):
        assert all(f"account-{n} ({n:012})" in (mail.text or "") for n in numbers)
    assert all(f"review-{n})" in (post.to("carl")[0].text or "") for n in numbers)
    facts = [one for one in await said(post.service) if isinstance(one, NotificationSent)]
    ann_and_bob, approvers = [user_id("ann"), user_id("bob")], [user_id("carl"), user_id("cora")]
    assert [(one.template, len(one.event_ids), [mail.recipient for mail in one.mails]) for one in facts] == [
        ("submitted", 1, ann_and_bob),
        ("approval_needed", TARGETS, approvers),
        ("approved", TARGETS, ann_and_bob),
        ("granted", TARGETS, ann_and_bob),
        ("revoked", TARGETS, ann_and_bob),
    ]
    assert all(one.cause == one.event_ids[0] for one in facts)


async def test_ticket_of_two_by_two_mails_holders_about_their_own_access_only(post: Post) -> None:
    whole = a_ticket(
        beneficiaries=(person("ann"), person("eve")),
        targets=(target(), second_target()),
        grants=tuple(
            grant(id=f"{name}-{where}", target_id=where, beneficiary=user_id(name))
            for name in ("ann", "eve")
            for where in ("target-1", "target-2")
        ),
    )
    await post.take(ticket_fact(whole=whole))
    for one in whole.grants:
        await post.take(
            access_fact(grant_id=one.id, target_id=one.target_id, user_id=one.beneficiary, at=NOW + SECOND)
        )
    await post.send_gathered()
    for name in ("ann", "eve", "bob"):
        assert heads(post, name) == {"Request submitted": 1, "Access granted": 1}
    granted = {name: post.to(name)[1].text or "" for name in ("ann", "eve", "bob")}
    assert "Eve" not in granted["ann"]
    assert "Ann" not in granted["eve"]
    assert granted["bob"].count("For: Ann (ann)") == granted["bob"].count("For: Eve (eve)") == 2
    facts = [one for one in await said(post.service) if isinstance(one, NotificationSent)]
    told = {tuple(mail.recipient for mail in one.mails): len(one.event_ids) for one in facts[1:]}
    assert told == {(user_id("ann"),): 2, (user_id("eve"),): 2, (user_id("bob"),): 4}


async def test_mail_waits_for_further_facts_only_where_there_can_be_any(post: Post) -> None:
    await post.take(ticket_fact())
    await post.take(access_fact(at=NOW + SECOND))
    assert len(await post.send_all()) == 4
    await deliver(post.service, ticket_fact(whole=wide_ticket(2, id="wide")))
    assert len(await post.send_all()) == 2
    fact = per_target(access.AccessGranted, SECOND, 1)[0]
    await deliver(post.service, fact.model_copy(update={"ticket_id": "wide", "subject": "wide"}))
    post.clock.advance(post.settings.mail_gather - SECOND)
    assert await post.send_all() == []
    post.clock.advance(SECOND)
    assert len(await post.send_all()) == 2


@pytest.mark.parametrize("kind", ["terminated", "revoked", "revoke_overdue"])
async def test_urgent_mail_does_not_wait_for_further_facts(post: Post, kind: str) -> None:
    whole = wide_ticket(TARGETS)
    await post.take(ticket_fact(whole=whole))
    await post.send_all()
    after = whole.model_copy(update={"version": 2})
    urgent = {
        "terminated": ticket_fact(
            stop.TicketTerminated, after, at=NOW + SECOND, target_ids=("t1",), grant_ids=("g1",)
        ),
        "revoked": per_target(access.AccessRevoked, SECOND, 1)[0].model_copy(
            update={"cause_of_end": access.EndCause.TERMINATED}
        ),
        "revoke_overdue": per_target(access.AccessRevokeOverdue, SECOND, 1)[0],
    }
    await deliver(post.service, urgent[kind])
    assert len(await post.send_all()) == 2


async def test_mail_gathers_no_longer_than_the_longest_wait(post: Post) -> None:
    await deliver(post.service, ticket_fact(whole=wide_ticket(TARGETS)))
    await post.send_all()
    begun = post.clock.now()
    pause = post.settings.mail_gather - SECOND
    for event in per_target(access.AccessGranted, SECOND):
        await deliver(post.service, event)
        if await post.send_all():
            break
        post.clock.advance(pause)
    assert timedelta() <= post.clock.now() - begun - post.settings.mail_gather_longest < pause
    assert heads(post, "ann")["Access granted"] == 1


class DiesAfterAccept(Mailer):
    async def send(self, *args: object) -> Outcome:
        await super().send(*args)  # type: ignore[arg-type]
        raise KeyboardInterrupt


async def test_kill_after_a_gathered_mail_repeats_it_and_what_came_since_makes_another(
    post: Post,
) -> None:
    """The server may have the mail: its repeat must be the same, so it takes no further facts."""
    whole = wide_ticket(3, requester=person("ann"))
    await deliver(post.service, ticket_fact(whole=whole))
    await post.send_all()
    first, second, third = per_target(access.AccessGranted, SECOND, 3)
    ids = [new_id() for _ in range(3)]
    await deliver(post.service, first, event_id=ids[0])
    await deliver(post.service, second, event_id=ids[1])
    post.clock.advance(post.settings.mail_gather)
    mailer = DiesAfterAccept(post.settings.smtp, within=post.settings.mail_send_within)
    with pytest.raises(KeyboardInterrupt):
        await send_due(post.context, mailer, settings=post.settings, most=1)
    await mailer.close()
    for event, event_id in zip((first, second, third), ids, strict=True):
        await deliver(post.service, event, event_id=event_id)
    post.clock.advance(post.settings.mail_lease)
    assert await post.send_all() == [Accepted(), Accepted()]
    _, lost, repeated, later = post.to("ann")
    assert (lost.receipt.message_id, lost.text) == (repeated.receipt.message_id, repeated.text)
    assert "account-3" not in (repeated.text or "")
    assert later.receipt.message_id != lost.receipt.message_id
    assert [number for number in (1, 2, 3) if f"account-{number} " in (later.text or "")] == [3]
    covered = [
        one.event_ids
        for one in await said(post.service, NotificationSent)
        if isinstance(one, NotificationSent) and one.template == "granted"
    ]
    assert covered == [(ids[0], ids[1]), (ids[2],)]


async def test_mail_that_is_given_back_while_another_of_its_kind_gathers_leaves_in_its_turn(
    post: Post,
) -> None:
    """It was claimed behind a slow one; the next fact had begun a mail of its own meanwhile."""
    await deliver(post.service, ticket_fact(whole=wide_ticket(3, requester=person("ann"))))
    await post.send_all()
    await deliver(post.service, ticket_fact(whole=a_ticket(id="another")))
    first, second = per_target(access.AccessGranted, SECOND, 2)
    await deliver(post.service, first)
    post.clock.advance(post.settings.mail_gather)

    class Slow(Mailer):
        async def send(self, *args: object) -> Outcome:
            outcome = await super().send(*args)  # type: ignore[arg-type]
            await deliver(post.service, second)
            post.clock.advance(2 * TOGETHER_WITHIN)
            return outcome

    slow = Slow(post.settings.smtp, within=post.settings.mail_send_within)
    assert await send_due(post.context, slow, settings=post.settings) == [Accepted()]
    await slow.close()
    await post.send_gathered()
    mails = [mail.text or "" for mail in post.to("ann") if (mail.text or "").startswith("Access granted")]
    assert [[number for number in (1, 2) if f"account-{number} " in mail] for mail in mails] == [[1], [2]]
    assert set(await post.rows("attempts, state")) == {(1, "sent")}


async def test_fact_that_meets_a_sender_joins_its_mail_or_makes_another_and_is_never_lost(
    post: Post,
) -> None:
    await deliver(post.service, ticket_fact(whole=wide_ticket(TARGETS, requester=person("ann"))))
    await post.send_all()
    facts = per_target(access.AccessGranted, SECOND)
    await deliver(post.service, facts[0])
    post.clock.advance(post.settings.mail_gather_longest)
    await asyncio.gather(post.send_all(), *(deliver(post.service, fact) for fact in facts[1:12]))
    post.clock.advance(post.settings.mail_gather)
    await post.send_all()
    sent = [one for one in await said(post.service) if isinstance(one, NotificationSent)]
    covered = [event_id for one in sent if one.template == "granted" for event_id in one.event_ids]
    assert len(covered) == len(set(covered)) == 12
    assert all(f"account-{n} " in "".join(mail.text or "" for mail in post.to("ann")) for n in range(1, 13))


async def test_claim_takes_what_was_gathered_and_closes_the_mail(post: Post) -> None:
    await deliver(post.service, ticket_fact(whole=wide_ticket(3, requester=person("ann"))))
    await post.send_all()
    first, second, third = per_target(access.AccessGranted, SECOND, 3)
    await deliver(post.service, first)
    await deliver(post.service, second)
    now = post.clock.now() + post.settings.mail_gather
    async with post.context.unit_of_work() as work:
        (claimed,) = await deliveries.claim(work.conn, now=now, leased_until=now + HOUR, most=5)
    assert len(claimed.notices) == 2
    await deliver(post.service, third)
    assert [row[1] for row in await post.rows("id, attempts")] == [1, 1, 0]


async def test_what_comes_together_makes_the_mails_it_makes_one_by_one(
    post: Post, admin_dsn: str, notifier_dsn: str
) -> None:
    """And asks the database no oftener for nine facts than for one."""
    whole = wide_ticket(3)
    granted = [access_fact(grant_id=f"g{n}", target_id=f"t{n}", at=NOW + n * SECOND) for n in (1, 2, 3)]
    stages = [stage_opened(target_id=f"t{n}", at=NOW + n * SECOND) for n in (1, 2, 3)]
    rebound = example(IdentityRebound)
    facts: list[Event] = [granted[0], ticket_fact(whole=whole), *granted[1:], *stages, rebound, rebound]
    mails = """
        d.ticket_id, d.recipient, d.template, d.snapshot, d.happened_at, d.next_attempt_at, d.give_up_at,
        (SELECT count(*) FROM delivery_notice AS link WHERE link.delivery_id = d.id) AS facts
    """
    statements: list[int] = []
    made: list[list[str]] = []
    for batches in ([[fact] for fact in facts], [facts]):
        await empty(admin_dsn, notifier_dsn, "delivery_notice", "delivery", "notice", "known_ticket")
        statements += [len(await post.take_together(batch)) for batch in batches]
        rows = await post.context.pool.fetch(f"SELECT {mails} FROM delivery AS d")
        made.append(sorted(str(tuple(row)) for row in rows))
    assert made[0] == made[1]
    each = sorted(row["facts"] for row in rows)
    assert each == [1] * 6 + [3] * 4, "submitted and each rebinding for two; granted and needed for two"
    assert statements[-1] == 5, "lock, read, keep the ticket, the facts and the mails"
