"""A target that was asked for again: its new revision is reviewed, whatever became of the earlier one."""

from collections.abc import Sequence

from services.approval.domain.review import ReviewState
from shared.contracts.approval import ReviewOpened, ReviewVoided
from shared.contracts.event import Actor
from shared.contracts.ticket import TargetState, Ticket, TicketRejected, TicketRevised
from shared.foundation.clock import new_id
from shared.runtime.service import Service
from tests.approval.builders import revised, target, ticket, with_state
from tests.approval.requests import Desk
from tests.support import organisation as org
from tests.support.harness import NOW, said
from tests.support.work import deliver


async def revise(
    service: Service, of: Ticket, targets: Sequence[str] = (), *, event_id: str | None = None
) -> None:
    await deliver(service, revision_of(of, targets), event_id=event_id)


def revision_of(of: Ticket, targets: Sequence[str] = ()) -> TicketRevised:
    return TicketRevised(
        subject=of.id,
        version=of.version,
        actor=Actor.service("ticket"),
        at=NOW,
        ticket=of.as_told(targets, ()),
        target_ids=tuple(targets),
    )


def rejection_of(of: Ticket) -> TicketRejected:
    whole = with_state(of, TargetState.REJECTED)
    return TicketRejected(
        subject=of.id,
        version=whole.version,
        actor=Actor.service("ticket"),
        at=NOW,
        ticket=whole.excerpt([of.targets[0].id]),
        target_ids=(of.targets[0].id,),
    )


async def test_revised_target_gets_a_review_of_its_own_after_a_rejection(desk: Desk) -> None:
    of = ticket()
    (first,) = await desk.submitted(of)
    await desk.decide("carl", first.id, "reject", "not today")
    await deliver(desk.service, rejection_of(of))
    again = revised(of)
    await revise(desk.service, again)
    rejected, opened = await desk.reviews_of(of.id)
    assert (rejected.state, opened.state) == (ReviewState.REJECTED, ReviewState.OPEN)
    assert opened.subject == again.subject_of(again.targets[0])
    (_, fact) = await said(desk.service, ReviewOpened)
    assert isinstance(fact, ReviewOpened)
    assert (fact.revision, fact.subject_id, fact.subject_kind, fact.ticket_version) == (
        2, again.targets[0].subject_id, "target", 4,
    )  # fmt: skip
    assert (await desk.decide("carl", opened.id)).status_code == 201, "a vote counts once per review"


async def test_revised_delivered_twice_opens_once(desk: Desk) -> None:
    again, event_id = revised(ticket()), new_id()
    await revise(desk.service, again, event_id=event_id)
    await revise(desk.service, again, event_id=event_id)
    await revise(desk.service, again)
    assert len(await desk.reviews_of(again.id)) == 1


async def test_revised_opens_the_targets_it_names_only(desk: Desk) -> None:
    again = revised(ticket(target(org.P), target(org.D)))
    await revise(desk.service, again, [again.targets[1].id])
    (review,) = await desk.reviews_of(again.id)
    assert review.subject.target_id == again.targets[1].id


async def test_revised_voids_what_is_open_of_the_earlier_revision_and_never_opens_it_later(
    desk: Desk, service: Service
) -> None:
    of = ticket()
    (first,) = await desk.submitted(of)
    await revise(service, revised(of))
    assert (await desk.review(first.id)).state is ReviewState.VOIDED
    (voided,) = await said(service, ReviewVoided)
    assert voided.why == "the target was asked for again, in a new revision"
    other = ticket()
    await revise(service, revised(other))
    await desk.submitted(other)
    assert [review.subject.revision for review in await desk.reviews_of(other.id)] == [2]


async def test_revised_after_its_own_stop_opens_nothing(desk: Desk, service: Service) -> None:
    again = revised(ticket())
    await deliver(service, rejection_of(again))
    await revise(service, again)
    assert await desk.reviews_of(again.id) == []
