"""What is listened to, and the background tasks that do the sending."""

import asyncio
from datetime import timedelta

import pytest

from services.notifier import consumers
from services.notifier.background import loops
from services.notifier.background.loops import run_sender
from services.notifier.background.sending import TOGETHER_WITHIN, send_due
from services.notifier.domain.delivery import Outcome
from services.notifier.domain.notice import TABLE
from services.notifier.email.smtp import Mailer
from shared.contracts import access, topics
from shared.contracts.notification import NotificationSent
from shared.foundation.clock import new_id
from tests.notifier.facts import a_ticket, access_fact, person, stage_opened, ticket_fact
from tests.notifier.post import Post
from tests.support import organisation
from tests.support.harness import NOW, mark, said


async def test_subscriptions_cover_the_table_each_on_its_owners_topic(post: Post) -> None:
    found = consumers.subscriptions(post.context, post.settings)
    assert [one.topic for one in found] == [topics.TICKET, topics.STOP, topics.APPROVAL, topics.ACCESS]
    assert {kind for one in found for kind in one.handlers} == set(TABLE)
    for one in found:
        nouns = {"provisioner": {"access", "identity"}, "ticket": {"ticket"}, "approval": {"review"}}
        assert {kind.TYPE.split(".")[0] for kind in one.handlers} == nouns[topics.TOPICS[one.topic].owner]


async def test_facts_nudge_the_senders_once_they_are_committed_and_make_one_mail(post: Post) -> None:
    nudged: list[int] = []

    def nudge() -> None:
        nudged.append(1)

    post.context.nudge = nudge
    for number, event in enumerate((ticket_fact(), stage_opened(), access_fact()), start=1):
        await post.take(event)
        assert len(nudged) == number, "a fact that is known nudges nobody"
    await post.send_all()
    assert len(post.box.mails()) == 6


async def test_facts_of_two_services_with_one_id_are_both_mailed(post: Post) -> None:
    event_id = new_id()
    await post.take(access_fact(at=NOW + timedelta(seconds=1)), event_id=event_id)
    await post.take(ticket_fact(), event_id=event_id)
    await post.send_all()
    heads = [(mail.text or "").splitlines()[0] for mail in post.to("ann")]
    assert heads == ["Request submitted", "Access granted"]
    assert len({mail.receipt.message_id for mail in post.to("ann")}) == 2


async def test_sender_sends_on_a_nudge_and_stops_without_losing_what_is_under_way(post: Post) -> None:
    nudge = asyncio.Event()
    post.context.nudge = nudge.set
    senders = [asyncio.create_task(run_sender(post.context, post.settings, nudge)) for _ in range(2)]
    for number in range(5):
        await post.take(ticket_fact(whole=a_ticket(id=f"ticket-{number}")))
    await post.until_sent(3)
    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)
    stopped_at = len(post.box.mails())
    facts = [one for one in await said(post.service) if isinstance(one, NotificationSent)]
    assert sum(len(one.mails) for one in facts) == stopped_at
    await post.send_all()
    ids = [mail.receipt.message_id for mail in post.box.mails()]
    assert len(ids) == len(set(ids)) == 10


async def test_sender_does_not_pause_while_a_slow_server_leaves_it_mail(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hand is settled after seconds, and what was not tried is given back: it is due at once."""
    send = Mailer.send

    async def slowly(mailer: Mailer, message: bytes, address: str) -> Outcome:
        post.clock.advance(2 * TOGETHER_WITHIN)
        return await send(mailer, message, address)

    monkeypatch.setattr(Mailer, "send", slowly)
    for number in range(3):
        await post.take(ticket_fact(whole=a_ticket(id=f"ticket-{number}")))
    sender = asyncio.create_task(run_sender(post.context, post.settings, asyncio.Event()))
    async with asyncio.timeout(loops.KEEP_CONNECTION.total_seconds()):
        await post.until_sent(6)
    sender.cancel()
    await asyncio.gather(sender, return_exceptions=True)


async def test_stop_lets_the_mail_under_way_be_sent_and_recorded(post: Post) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    class Slow(Mailer):
        async def send(self, *args: object) -> Outcome:
            begun.set()
            await go.wait()
            return await super().send(*args)  # type: ignore[arg-type]

    await post.take(ticket_fact(whole=a_ticket(requester=person("ann"))))
    slow = Slow(post.settings.smtp, within=post.settings.mail_send_within)
    sending = asyncio.create_task(
        loops._uninterrupted(send_due(post.context, slow, settings=post.settings, most=1))
    )
    await begun.wait()
    sending.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await slow.close()
    assert len(post.box.mails()) == 1
    assert await post.rows("state") == [("sent",)]


async def test_stop_while_sending_fails_is_still_a_stop(post: Post) -> None:
    go = asyncio.Event()

    async def failing() -> None:
        await go.wait()
        raise OSError("the database went away")

    working = asyncio.create_task(loops._uninterrupted(failing()))
    await asyncio.sleep(0)
    working.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await working


@pytest.mark.parametrize("ticks", range(5))
async def test_stop_at_the_moment_of_a_nudge_stops_the_sender(post: Post, ticks: int) -> None:
    nudge = asyncio.Event()
    sender = asyncio.create_task(run_sender(post.context, post.settings, nudge))
    for _ in range(20):
        await post.context.pool.fetchval("SELECT 1")
    nudge.set()
    for _ in range(ticks):
        await asyncio.sleep(0)
    sender.cancel()
    done, _ = await asyncio.wait({sender}, timeout=2)
    assert done, "the sender swallowed its cancellation: it would go on without a database"
    assert sender.cancelled()


async def test_sender_without_the_inventory_waits_for_it(post: Post) -> None:
    await post.take(ticket_fact())
    policy, documents = post.context.policy, organisation.everything()["provisioner"]
    mark(policy, "provisioner", documents[1:], at=NOW)
    nudge = asyncio.Event()
    sender = asyncio.create_task(run_sender(post.context, post.settings, nudge))
    for _ in range(20):
        await post.context.pool.fetchval("SELECT 1")
    assert post.box.mails() == []
    mark(policy, "provisioner", documents, at=NOW)
    nudge.set()
    await post.until_sent(2)
    sender.cancel()
    await asyncio.gather(sender, return_exceptions=True)
    assert len(post.box.mails()) == 2


async def test_silent_access_facts_are_not_listened_to(post: Post) -> None:
    handlers = consumers.subscriptions(post.context, post.settings)[2].handlers
    assert access.AccessGranting not in handlers
    assert access.AccessRevokeDue not in handlers
