"""What is listened to, and the background tasks that do the sending."""

import asyncio

import pytest

from services.notifier import consumers
from services.notifier.commands import rounds
from services.notifier.commands.rounds import send_for_ever
from services.notifier.commands.sending import send_next
from services.notifier.domain.delivery import Outcome
from services.notifier.domain.notice import TABLE
from services.notifier.email.smtp import Mailer
from shared.contracts import access, topics
from shared.contracts.notification import NotificationSent
from shared.contracts.ticket import TicketSubmitted
from shared.foundation.clock import new_id
from tests.notifier.facts import a_ticket, access_fact, person, stage_opened, ticket_fact
from tests.notifier.post import Post
from tests.support import organisation
from tests.support.harness import NOW, mark, received, said


async def test_subscriptions_cover_the_table_each_on_its_owners_topic(post: Post) -> None:
    found = consumers.subscriptions(post.context, post.settings, asyncio.Event())
    assert [one.topic for one in found] == [topics.TICKET, topics.APPROVAL, topics.ACCESS]
    assert {kind for one in found for kind in one.handlers} == set(TABLE)
    for one in found:
        owner = {"provisioner": "access", "ticket": "ticket", "approval": "review"}[
            topics.TOPICS[one.topic].owner
        ]
        assert {kind.TYPE.split(".")[0] for kind in one.handlers} == {owner}


async def test_handlers_delivered_twice_each_nudge_and_make_one_mail(post: Post) -> None:
    nudge = asyncio.Event()
    table = {
        kind: handler
        for one in consumers.subscriptions(post.context, post.settings, nudge)
        for kind, handler in one.handlers.items()
    }
    for event in (ticket_fact(), stage_opened(), access_fact()):
        arrived = received(event)
        for _ in range(2):
            nudge.clear()
            await table[type(event)](arrived)
            assert nudge.is_set()
    await post.send_all()
    assert len(post.box.mails()) == 6


async def test_handler_of_an_id_that_another_source_used_does_not_fail(post: Post) -> None:
    table = {
        kind: handler
        for one in consumers.subscriptions(post.context, post.settings, asyncio.Event())
        for kind, handler in one.handlers.items()
    }
    event_id = new_id()
    for event, source in ((access_fact(), "provisioner"), (ticket_fact(), "ticket")):
        await table[type(event)](received(event, event_id=event_id, source=source))
    await post.send_all()
    assert post.box.mails()


async def test_sender_sends_on_a_nudge_and_stops_without_losing_what_is_under_way(post: Post) -> None:
    nudge = asyncio.Event()
    table = consumers.subscriptions(post.context, post.settings, nudge)[0].handlers
    senders = [asyncio.create_task(send_for_ever(post.context, post.settings, nudge)) for _ in range(2)]
    for number in range(5):
        await table[TicketSubmitted](received(ticket_fact(whole=a_ticket(id=f"ticket-{number}"))))
    await post.until_sent(3)
    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)
    stopped_at = len(post.box.mails())
    assert len(await said(post.service, NotificationSent)) == stopped_at
    await post.send_all()
    ids = [mail.receipt.message_id for mail in post.box.mails()]
    assert len(ids) == len(set(ids)) == 10


async def test_stop_lets_the_mail_under_way_be_sent_and_recorded(post: Post) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    class Slow(Mailer):
        async def send(self, *args: object) -> Outcome:
            begun.set()
            await go.wait()
            return await super().send(*args)  # type: ignore[arg-type]

    await post.hear(ticket_fact(whole=a_ticket(requester=person("ann"))))
    slow = Slow(post.settings.smtp, within=post.settings.mail_send_within)
    sending = asyncio.create_task(rounds._to_its_end(send_next(post.context, post.settings, slow)))
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

    working = asyncio.create_task(rounds._to_its_end(failing()))
    await asyncio.sleep(0)
    working.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await working


@pytest.mark.parametrize("ticks", range(5))
async def test_stop_at_the_moment_of_a_nudge_stops_the_sender(post: Post, ticks: int) -> None:
    nudge = asyncio.Event()
    sender = asyncio.create_task(send_for_ever(post.context, post.settings, nudge))
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
    await post.hear(ticket_fact())
    tables, documents = post.context.tables, organisation.everything()["provisioner"]
    mark(tables, "provisioner", documents[1:], at=NOW)
    nudge = asyncio.Event()
    sender = asyncio.create_task(send_for_ever(post.context, post.settings, nudge))
    for _ in range(20):
        await post.context.pool.fetchval("SELECT 1")
    assert post.box.mails() == []
    mark(tables, "provisioner", documents, at=NOW)
    nudge.set()
    await post.until_sent(2)
    sender.cancel()
    await asyncio.gather(sender, return_exceptions=True)
    assert len(post.box.mails()) == 2


async def test_silent_access_facts_are_not_listened_to(post: Post) -> None:
    handlers = consumers.subscriptions(post.context, post.settings, asyncio.Event())[2].handlers
    assert access.AccessGranting not in handlers
    assert access.AccessRevokeDue not in handlers
