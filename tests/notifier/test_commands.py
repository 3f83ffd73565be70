"""Facts in, mails out: against a real database and a real SMTP receiver."""

import asyncio
from datetime import timedelta

import pytest

from services.notifier.background.loops import monitor
from services.notifier.background.sending import AT_ONCE, NO_ADDRESS, TOGETHER_WITHIN, send_due
from services.notifier.domain.delivery import Accepted, Deferred, Outcome, Refused
from services.notifier.domain.known import KnownTicket
from services.notifier.email.smtp import Mailer
from services.notifier.store import notices
from shared.contracts import access, stop, ticket
from shared.contracts.documents import User
from shared.contracts.event import Event
from shared.contracts.notification import NotificationFact, NotificationFailed, NotificationSent
from shared.contracts.windows import Window
from shared.foundation.clock import new_id
from tests.notifier.facts import (
    HOUR,
    REVIEW,
    TARGET,
    TICKET,
    TWO,
    a_ticket,
    access_fact,
    person,
    second_target,
    stage_opened,
    target,
    ticket_fact,
)
from tests.notifier.post import Post
from tests.support.harness import NOW, said
from tests.support.organisation import user_id
from tests.support.work import deliver

SECOND = timedelta(seconds=1)


class DiesAfterAccept(Mailer):
    """The process ends where it hurts: the server has the mail, we have not written that down."""

    async def send(self, *args: object) -> Outcome:
        await super().send(*args)  # type: ignore[arg-type]
        raise KeyboardInterrupt


async def mails_said(post: Post) -> list[tuple[type[Event], str, int]]:
    """What became of whose mail at which attempt, in the order of the facts."""
    facts = [fact for fact in await said(post.service) if isinstance(fact, NotificationFact)]
    return [(type(fact), mail.recipient, fact.attempts) for fact in facts for mail in fact.mails]


def dying(post: Post) -> Mailer:
    return DiesAfterAccept(post.settings.smtp, within=post.settings.mail_send_within)


async def test_fact_delivered_twice_makes_one_mail_per_recipient(post: Post) -> None:
    await post.take(ticket_fact())
    await post.send_all()
    await post.take(stage_opened())
    await post.send_all()
    assert [len(post.to(name)) for name in ("ann", "bob", "carl", "cora")] == [1, 1, 1, 1]
    assert len(post.box.mails()) == 4


async def test_event_delivered_to_two_replicas_at_once_makes_one_mail(post: Post) -> None:
    event, event_id = ticket_fact(), new_id()
    await asyncio.gather(*(deliver(post.service, event, event_id=event_id) for _ in range(4)))
    await post.send_all()
    assert len(post.box.mails()) == 2


async def test_send_says_so_with_the_cause_and_the_message_id(post: Post) -> None:
    event_id = await post.take(ticket_fact())
    await post.send_all()
    (fact,) = await said(post.service)
    assert isinstance(fact, NotificationSent)
    assert (fact.subject, fact.ticket_id, fact.cause) == (TICKET, TICKET, event_id)
    assert (fact.event_ids, fact.template, fact.attempts) == ((event_id,), "submitted", 1)
    received = {mail.receipt.recipients[0]: mail.receipt.message_id for mail in post.box.mails()}
    assert [(mail.recipient, mail.message_id) for mail in fact.mails] == [
        (user_id(name), received[f"{name}@example.com"]) for name in ("ann", "bob")
    ]


async def test_send_while_receiver_is_down_waits_and_sends_once_it_is_up(post: Post) -> None:
    port = post.box.port
    await post.box.stop()
    await post.take(ticket_fact())
    outcomes = await post.send_all()
    assert all(isinstance(outcome, Deferred) and outcome.server for outcome in outcomes)
    assert len(outcomes) == 2
    await post.box.start(port)
    assert await post.send_all() == []
    post.clock.advance(post.settings.mail_first_delay)
    assert await post.send_all() == [Accepted(), Accepted()]
    assert [len(post.to(name)) for name in ("ann", "bob")] == [1, 1]


async def test_send_answered_4xx_is_tried_again_with_growing_pauses(post: Post) -> None:
    post.box.refuse(451, times=2, recipient="ann@example.com")
    await post.take(ticket_fact())
    await post.send_all()
    for pause in (post.settings.mail_first_delay, 2 * post.settings.mail_first_delay):
        post.clock.advance(pause - SECOND)
        assert await post.send_all() == []
        post.clock.advance(SECOND)
        assert len(await post.send_all()) == 1
    assert len(post.to("ann")) == 1
    assert await mails_said(post) == [
        (NotificationSent, user_id("bob"), 1),
        (NotificationSent, user_id("ann"), 3),
    ]


async def test_send_answered_4xx_for_a_day_is_given_up_and_said(post: Post) -> None:
    post.box.refuse(451, recipient="ann@example.com")
    await post.take(ticket_fact())
    await post.send_all()
    post.clock.advance(post.settings.mail_give_up_after - SECOND)
    await post.send_all()
    assert await said(post.service, NotificationFailed) == []
    post.clock.advance(post.settings.mail_longest_delay)
    await post.send_all()
    (failed,) = await said(post.service, NotificationFailed)
    assert isinstance(failed, NotificationFailed)
    assert ([one.recipient for one in failed.mails], failed.smtp_code) == ([user_id("ann")], 451)
    assert failed.attempts == 3
    assert failed.detail.startswith("given up after 3 attempts")


@pytest.mark.parametrize("recipient", ["ann@example.com", None], ids=["at RCPT", "after DATA"])
async def test_send_answered_5xx_fails_at_once_and_alerts(post: Post, recipient: str | None) -> None:
    post.box.refuse(550, recipient=recipient, reason="no such user")
    await post.take(access_fact())
    await post.take(ticket_fact(ticket.TicketClosed))
    await post.send_all()
    failed = await said(post.service, NotificationFailed)
    assert {one.smtp_code for one in failed if isinstance(one, NotificationFailed)} == {550}
    assert (NotificationFailed, user_id("ann"), 1) in await mails_said(post)
    alerts = [alert for alert in post.context.alerts.active if alert.key.startswith("undeliverable_mail/")]
    assert alerts
    assert "no such user" in alerts[0].detail
    post.clock.advance(HOUR)
    assert await post.send_all() == []


async def test_monitor_with_mail_that_does_not_get_away_alerts_until_it_does(post: Post) -> None:
    post.box.refuse(451, recipient="ann@example.com")
    await post.take(ticket_fact())
    for _ in range(3):
        await post.send_all()
        post.clock.advance(post.settings.mail_longest_delay)
    await monitor(post.context, post.settings)
    (alert,) = post.context.alerts.active
    assert alert.key == "undeliverable_mail"
    assert "451" in alert.detail
    post.box.accept_all()
    await post.send_all()
    await monitor(post.context, post.settings)
    assert [alert.key for alert in post.context.alerts.active if not alert.once] == []


async def test_send_cut_after_the_data_was_accepted_repeats_the_same_message_id(post: Post) -> None:
    await post.take(access_fact(), event_id=None)
    await post.take(ticket_fact(ticket.TicketClosed))
    post.box.cut_after_data()
    (first, *_) = await post.send_all()
    assert isinstance(first, Deferred)
    post.clock.advance(post.settings.mail_first_delay)
    await post.send_all()
    cut, *others = post.box.mails()
    repeats = [mail for mail in others if mail.receipt.message_id == cut.receipt.message_id]
    assert len(repeats) == 1
    assert repeats[0].receipt.recipients == cut.receipt.recipients
    assert repeats[0].text == cut.text


async def test_kill_between_accept_and_record_repeats_the_same_message_id(post: Post) -> None:
    await post.take(stage_opened(approvers=(person("carl"),)))
    await post.take(ticket_fact(ticket.TicketClosed))
    mailer = dying(post)
    with pytest.raises(KeyboardInterrupt):
        await send_due(post.context, mailer, settings=post.settings, most=1)
    await mailer.close()
    assert await post.send_all() == []
    post.clock.advance(post.settings.mail_lease)
    assert await post.send_all() == [Accepted()]
    first, second = post.to("carl")
    assert first.receipt.message_id == second.receipt.message_id
    assert first.text == second.text
    (sent,) = await said(post.service, NotificationSent)
    assert isinstance(sent, NotificationSent)
    assert sent.attempts == 2


async def test_two_senders_at_once_send_each_mail_once(post: Post) -> None:
    for number in range(10):
        whole = a_ticket(id=f"ticket-{number}")
        await post.take(ticket_fact(whole=whole))
    mailers = [Mailer(post.settings.smtp, within=post.settings.mail_send_within) for _ in range(3)]
    await asyncio.gather(*(post.send_all(mailer) for mailer in mailers))
    for mailer in mailers:
        await mailer.close()
    await post.send_all()
    ids = [mail.receipt.message_id for mail in post.box.mails()]
    assert len(ids) == len(set(ids)) == 20
    assert len(await mails_said(post)) == 20


async def test_sender_slower_than_its_lease_leaves_the_record_to_the_other(post: Post) -> None:
    await post.take(ticket_fact(whole=a_ticket(beneficiaries=(person("bob"),))))

    class Overtaken(Mailer):
        async def send(self, *args: object) -> Outcome:
            post.clock.advance(post.settings.mail_lease)
            await send_due(post.context, post.mailer, settings=post.settings, most=1)
            return await super().send(*args)  # type: ignore[arg-type]

    slow = Overtaken(post.settings.smtp, within=post.settings.mail_send_within)
    await send_due(post.context, slow, settings=post.settings, most=1)
    await slow.close()
    assert len({mail.receipt.message_id for mail in post.box.mails()}) == 1
    assert len(await mails_said(post)) == 1


async def test_mails_of_one_ticket_keep_their_order_while_one_is_refused(post: Post) -> None:
    await post.take(ticket_fact())
    post.box.refuse(451, times=1, recipient="ann@example.com")
    await post.send_all()
    approved = ticket_fact(ticket.TicketApproved, a_ticket(version=2), at=NOW + SECOND)
    await post.take(access_fact(at=NOW + 2 * SECOND))
    await post.take(approved)
    await post.send_all()
    assert post.to("ann") == []
    assert len(post.to("bob")) == 3
    post.clock.advance(post.settings.mail_first_delay)
    await post.send_all()
    for name in ("ann", "bob"):
        heads = [(mail.text or "").splitlines()[0] for mail in post.to(name)]
        assert heads == ["Request submitted", "Request approved", "Access granted"]


URGENT = {
    "terminated": lambda: ticket_fact(stop.TicketTerminated, a_ticket(version=2), at=NOW + 2 * SECOND),
    "revoked": lambda: access_fact(access.AccessRevoked, at=NOW + 2 * SECOND),
    "revoke_overdue": lambda: access_fact(access.AccessRevokeOverdue, at=NOW + 2 * SECOND),
}


@pytest.mark.parametrize("kind", URGENT)
async def test_urgent_mail_waits_for_no_earlier_one_that_is_refused(post: Post, kind: str) -> None:
    await post.take(ticket_fact())
    post.box.refuse(451, times=1, recipient="ann@example.com")
    await post.send_all()
    await post.take(access_fact(at=NOW + SECOND))
    await post.take(URGENT[kind]())
    await post.send_all()
    assert len(post.to("ann")) == 1
    sent = await post.rows("recipient, template, state")
    assert (user_id("ann"), kind, "sent") in sent
    assert (user_id("ann"), "granted", "pending") in sent


async def test_access_fact_before_its_ticket_is_told_when_the_ticket_is_known(post: Post) -> None:
    await post.take(access_fact(at=NOW + SECOND))
    assert await post.send_all() == []
    await post.take(ticket_fact())
    await post.send_all()
    heads = [(mail.text or "").splitlines()[0] for mail in post.to("ann")]
    assert heads == ["Request submitted", "Access granted"]
    assert "Investigate the failing payments" in (post.to("ann")[1].text or "")
    assert len(post.to("bob")) == 2


async def test_facts_of_one_transaction_are_told_whichever_came_first_and_noted_together(post: Post) -> None:
    facts = [access_fact(at=NOW + SECOND), ticket_fact(), stage_opened()]
    noted = await post.take_together(facts)
    await post.send_all()
    assert [len(post.to(name)) for name in ("ann", "bob", "carl", "cora")] == [2, 2, 1, 1]
    assert sum("INSERT INTO notice" in statement for statement in noted) == 1


async def test_access_fact_whose_ticket_does_not_come_is_told_all_the_same(post: Post) -> None:
    nudge = asyncio.Event()
    post.context.nudge = nudge.set
    await post.take(access_fact())
    await post.take(stage_opened())
    await monitor(post.context, post.settings)
    assert not nudge.is_set()
    post.clock.advance(post.settings.mail_hold + SECOND)
    await monitor(post.context, post.settings)
    assert nudge.is_set()
    await monitor(post.context, post.settings)
    await post.send_gathered()
    (granted,) = post.to("ann")
    assert "Administrator on prod-payments (111111111111)" in (granted.text or "")
    assert f"https://pages.example.com/reviews/{REVIEW}" in (post.to("carl")[0].text or "")
    assert post.to("bob") == []
    await post.take(ticket_fact())
    await post.send_all()
    assert [len(post.to(name)) for name in ("ann", "bob", "carl")] == [2, 2, 1]


async def test_access_fact_while_its_ticket_is_being_saved_waits_for_it(post: Post) -> None:
    pool = post.context.pool
    async with post.context.unit_of_work() as work:
        await notices.lock_tickets(work, [TICKET])
        notices.save_ticket(work, KnownTicket.by(a_ticket()), now=NOW)
        taking = asyncio.create_task(post.take(access_fact()))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
        while not taking.done() and not await pool.fetchval(waiting):
            pass
        assert await work.conn.fetchval("SELECT count(*) FROM notice") == 0
    await taking
    assert len(await post.rows("id")) == 2
    assert await pool.fetchval("SELECT count(*) FROM notice WHERE held") == 0


async def test_older_ticket_fact_does_not_replace_a_newer_ticket(post: Post) -> None:
    await post.take(
        ticket_fact(ticket.TicketApproved, a_ticket(version=2, targets=(target(reason="the newer reason"),)))
    )
    await post.take(ticket_fact(ticket.TicketSubmitted, a_ticket(version=1)))
    await post.take(access_fact())
    await post.send_all()
    assert "the newer reason" in (post.to("ann")[-1].text or "")
    assert len(post.to("ann")) == 3


async def test_fact_of_one_target_leaves_the_others_as_they_are_known(post: Post) -> None:
    await post.take(ticket_fact(whole=TWO))
    window = Window(starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR)
    approved = TWO.model_copy(
        update={"version": 2, "targets": (TWO.targets[0], second_target(window=window))}
    )
    await post.take(ticket_fact(ticket.TicketApproved, approved, target_ids=("target-2",), at=NOW + SECOND))
    await post.take(access_fact(at=NOW + 2 * SECOND))
    stopped = TWO.model_copy(update={"version": 3})
    await post.take(
        ticket_fact(stop.TicketTerminated, stopped, target_ids=("target-2",), at=NOW + 3 * SECOND)
    )
    await post.send_gathered()
    mails = post.to("ann")
    assert len(mails) == 4
    assert {mail.receipt.subject for mail in mails} == {
        "[JIT] Administrator on prod-payments and 1 more for Ann and 1 more"
    }
    granted = next(mail.text or "" for mail in mails if "Access granted" in (mail.text or ""))
    assert "Administrator on prod-payments (111111111111)" in granted
    assert len(post.to("eve")) == 1, "she has nothing on the second target, and hers is not granted"


async def test_review_waits_until_its_own_target_is_known_as_it_was_asked_for(post: Post) -> None:
    """A newer fact of another target says nothing about this one."""
    await post.take(ticket_fact(whole=TWO))
    newer = TWO.model_copy(update={"version": 4})
    await post.take(ticket_fact(ticket.TicketApproved, newer, target_ids=("target-2",)))
    again = target(revision=2, subject_id="again", reason="it is needed after all")
    await post.take(stage_opened(subject_id="again", revision=2, ticket_version=3))
    assert await post.context.pool.fetchval("SELECT count(*) FROM notice WHERE held") == 1
    await post.send_gathered()
    assert post.to("carl") == []
    revised = TWO.model_copy(update={"version": 3, "targets": (again, second_target())})
    await post.take(ticket_fact(ticket.TicketRevised, revised, target_ids=(TARGET,)))
    await post.send_gathered()
    (asked,) = post.to("carl")
    assert "it is needed after all" in (asked.text or "")
    assert await post.context.pool.fetchval("SELECT count(*) FROM notice WHERE held") == 0


async def test_address_is_the_inventorys_at_sending_time(post: Post) -> None:
    await post.take(ticket_fact())
    user = post.context.policy.known().user(user_id("ann"))
    assert isinstance(user, User)
    post.context.policy.take(
        "provisioner", user.model_copy(update={"email": "married@example.com", "revision": 10_000})
    )
    await post.send_all()
    assert len(post.to("married")) == 1
    assert post.to("ann") == []


async def test_person_unknown_to_the_inventory_is_reached_at_the_facts_address(post: Post) -> None:
    await post.take(stage_opened(approvers=(person("zoe"),)))
    await post.take(ticket_fact())
    await post.send_all()
    assert len(post.to("zoe")) == 1


@pytest.mark.parametrize(
    ("address", "detail"),
    [
        (None, NO_ADDRESS),
        ("", NO_ADDRESS),
        ("nobody", "cannot be used"),
        ("a@example.com, b@example.com", "cannot be used"),
        ("a@example.com\r\nBcc: b@example.com", NO_ADDRESS),
        ("nul\x00@example.com", NO_ADDRESS),
        ("jürgen@example.com", "cannot be used"),
        ("<script>@example.com", "cannot be used"),
    ],
)
async def test_person_without_a_usable_address_is_said_to_have_failed(
    post: Post, address: str | None, detail: str
) -> None:
    await post.take(stage_opened(approvers=(person("zoe", email=address),)))
    await post.take(ticket_fact(ticket.TicketClosed))
    outcomes = await post.send_all()
    assert [type(outcome) for outcome in outcomes] == [Refused]
    (failed,) = await said(post.service, NotificationFailed)
    assert isinstance(failed, NotificationFailed)
    assert detail in failed.detail
    assert post.box.mails() == []


@pytest.mark.parametrize("event", [access.AccessGranting, access.AccessRevokeDue])
async def test_fact_that_is_no_news_makes_no_mail(post: Post, event: type[access.AccessFact]) -> None:
    await post.take(ticket_fact(ticket.TicketClosed))
    await post.take(access_fact(event))
    assert await post.rows("id") == []


async def test_mails_that_are_due_together_are_claimed_and_settled_together(post: Post) -> None:
    for number in range(AT_ONCE // 2):
        await post.take(ticket_fact(whole=a_ticket(id=f"ticket-{number}")))
    outcomes = await send_due(post.context, post.mailer, settings=post.settings)
    assert outcomes == [Accepted()] * AT_ONCE
    assert {row[0] for row in await post.rows("state")} == {"sent"}
    assert len(await mails_said(post)) == AT_ONCE
    assert len(await said(post.service)) == AT_ONCE // 2, "tickets are told apart"


async def test_stage_of_twenty_approvers_is_said_in_two_facts_and_who_waits_in_a_later_one(
    post: Post,
) -> None:
    names = [f"approver{number:02}" for number in range(20)]
    post.box.refuse(451, times=1, recipient="approver07@example.com")
    event_id = await post.take(stage_opened(approvers=tuple(map(person, names))))
    await post.take(ticket_fact(ticket.TicketClosed))
    await post.send_all()
    assert len(await said(post.service)) == 20 // AT_ONCE
    post.clock.advance(post.settings.mail_first_delay)
    await post.send_all()
    told = await mails_said(post)
    late = (NotificationSent, user_id("approver07"), 2)
    assert told[-1] == late
    at_once = [(NotificationSent, user_id(name), 1) for name in names if name != "approver07"]
    assert sorted(told[:-1], key=str) == at_once
    facts = await said(post.service)
    assert [one.cause for one in facts] == [event_id] * 3
    for fact in facts:
        assert isinstance(fact, NotificationSent)
        assert list(fact.mails) == sorted(fact.mails, key=lambda mail: mail.recipient)


async def test_mails_behind_a_server_that_is_away_are_given_back_untried(post: Post) -> None:
    for number in range(3):
        await post.take(ticket_fact(whole=a_ticket(id=f"ticket-{number}")))
    nowhere = Mailer(post.settings.smtp.model_copy(update={"port": 1}), within=post.settings.mail_send_within)
    [outcome] = await send_due(post.context, nowhere, settings=post.settings)
    assert isinstance(outcome, Deferred)
    rows = await post.rows("attempts, leased_until, state")
    assert sorted(rows) == [(0, None, "pending")] * 5 + [(1, None, "pending")]


async def test_mails_behind_a_slow_one_are_given_back_and_sent_in_their_turn(post: Post) -> None:
    for number in range(3):
        await post.take(ticket_fact(whole=a_ticket(id=f"ticket-{number}")))

    class Slow(Mailer):
        async def send(self, *args: object) -> Outcome:
            post.clock.advance(2 * TOGETHER_WITHIN)
            return await super().send(*args)  # type: ignore[arg-type]

    slow = Slow(post.settings.smtp, within=post.settings.mail_send_within)
    assert await send_due(post.context, slow, settings=post.settings) == [Accepted()]
    assert len(await post.send_all()) == 5
    assert set(await post.rows("attempts, state")) == {(1, "sent")}
    await slow.close()


async def test_one_refused_mail_among_others_is_settled_by_itself(post: Post) -> None:
    await post.take(ticket_fact())
    post.box.refuse(550, times=1, recipient="ann@example.com")
    outcomes = await send_due(post.context, post.mailer, settings=post.settings)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Accepted", "Refused"]
    assert sorted(await post.rows("state, smtp_code")) == [("failed", 550), ("sent", None)]
