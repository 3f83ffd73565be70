from services.provisioner.consumers import subscriptions
from shared.contracts import topics
from shared.contracts.approval import ReviewApproved, ReviewVoided
from shared.contracts.ticket import TicketApproved, TicketReturned, TicketTerminated, TicketWithdrawn
from tests.support.provisioner_lab import Lab


async def test_consumers_take_intents_from_ticket_and_the_witness_from_approval_only(lab: Lab) -> None:
    table = {one.topic: set(one.handlers) for one in subscriptions(lab.context, lambda: None)}
    assert table == {
        topics.TICKET: {TicketApproved, TicketTerminated, TicketReturned, TicketWithdrawn},
        topics.APPROVAL: {ReviewApproved},
    }


async def test_consumers_do_not_end_access_because_a_review_was_voided(lab: Lab) -> None:
    assert all(ReviewVoided not in one.handlers for one in subscriptions(lab.context, lambda: None))


async def test_handlers_run_the_commands_and_nudge(lab: Lab) -> None:
    nudged: list[int] = []
    handlers = {
        cls: handler
        for one in subscriptions(lab.context, lambda: nudged.append(1))
        for cls, handler in one.handlers.items()
    }
    ticket = lab.ticket(seconds=600)
    for event in (lab.witness(ticket), lab.approval(ticket), lab.stop(ticket)):
        await handlers[type(event.event)](event)
    assert await lab.story(ticket) == ["scheduled", "revoke_due(terminated)", "failed(terminated)"]
    assert len(nudged) == 3
