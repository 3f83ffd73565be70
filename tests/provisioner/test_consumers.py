from services.provisioner.consumers import subscriptions
from shared.contracts import topics
from shared.contracts.approval import ReviewApproved, ReviewVoided
from shared.contracts.stop import TicketReturned, TicketTerminated, TicketWithdrawn
from shared.contracts.ticket import (
    TicketApproved,
    TicketExtensionApproved,
)
from tests.support.provisioner_lab import Lab


async def test_consumers_take_intents_from_ticket_and_the_witness_from_approval_only(lab: Lab) -> None:
    table = {one.topic: set(one.handlers) for one in subscriptions(lab.context)}
    assert table == {
        topics.TICKET: {
            TicketApproved,
            TicketExtensionApproved,
        },
        topics.STOP: {TicketTerminated, TicketReturned, TicketWithdrawn},
        topics.APPROVAL: {ReviewApproved},
    }


async def test_consumers_do_not_end_access_because_a_review_was_voided(lab: Lab) -> None:
    assert all(ReviewVoided not in one.handlers for one in subscriptions(lab.context))


async def test_handlers_run_the_commands_in_the_consumers_unit_and_nudge_after_it(lab: Lab) -> None:
    ticket = lab.ticket(seconds=600)
    await lab.take(lab.witness(ticket), lab.approval(ticket), lab.stop(ticket))
    assert await lab.story(ticket) == ["scheduled", "revoke_due(terminated)", "failed(terminated)"]
    assert lab.nudges == 2  # the witness found nothing that waited for it
