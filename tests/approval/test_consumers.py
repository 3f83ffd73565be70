from services.approval.consumers import subscriptions
from shared.contracts import topics
from shared.contracts.approval import ReviewOpened, ReviewVoided
from shared.contracts.event import Actor
from shared.contracts.stop import TicketWithdrawn
from shared.contracts.ticket import (
    TicketFact,
    TicketSubmitted,
)
from shared.runtime.service import Service
from tests.approval.builders import ticket
from tests.support.harness import NOW, said
from tests.support.stops import stop_of
from tests.support.work import deliver

STOPPING = {"ticket.withdrawn.v1", "ticket.terminated.v1", "ticket.returned.v1"}
ENDING = {
    "ticket.timed_out.v1",
    "ticket.rejected.v1",
    "ticket.closed.v1",
}
OPENING = {"ticket.submitted.v1", "ticket.revised.v1", "ticket.extension_requested.v1"}


def fact_about(cls: type[TicketFact]) -> TicketFact:
    whole = ticket()
    return cls(subject=whole.id, version=1, actor=Actor.service("ticket"), at=NOW, ticket=whole)


async def test_subscriptions_are_the_ticket_topic_and_first_of_all_every_stop(service: Service) -> None:
    stops, facts = subscriptions(service.context)
    assert (stops.topic, stops.first) == (topics.STOP, True)
    assert {cls.TYPE for cls in stops.handlers} == STOPPING
    assert (facts.topic, facts.first) == (topics.TICKET, False)
    assert {cls.TYPE for cls in facts.handlers} == ENDING | OPENING | {"ticket.extension_rejected.v1"}


async def test_each_event_twice_has_its_effect_once(service: Service) -> None:
    submitted = fact_about(TicketSubmitted)
    for _ in range(2):
        await deliver(service, submitted, event_id="01955555-0000-7000-8000-000000000001")
    for _ in range(2):
        withdrawn = stop_of(TicketWithdrawn, submitted.ticket)
        await deliver(service, withdrawn, event_id="01955555-0000-7000-8000-000000000002")
    assert len(await said(service, ReviewOpened)) == 1
    assert len(await said(service, ReviewVoided)) == 1
