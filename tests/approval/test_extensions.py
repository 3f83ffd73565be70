"""A later end of live access: reviewed like a target, for the whole length from the first start."""

from datetime import timedelta

import pytest

from services.approval.background import refresh_reviews
from services.approval.commands.reviews import STOPS
from services.approval.domain.review import Review, ReviewState
from services.approval.domain.stops import Stops
from shared.contracts.approval import (
    ReviewApproved,
    ReviewFact,
    ReviewOpened,
    ReviewStageOpened,
    ReviewVoided,
)
from shared.contracts.event import Actor
from shared.contracts.stop import StopFact, TicketReturned
from shared.contracts.ticket import (
    Ticket,
    TicketExtensionRejected,
    TicketExtensionRequested,
    TicketFact,
)
from shared.contracts.windows import Window
from shared.foundation.clock import ManualClock, new_id
from shared.runtime.service import Service
from tests.approval.builders import (
    CARLS,
    HOUR,
    electorate,
    extension_subject,
    live,
    opened,
    replace_rules,
    revised,
    stage,
    target,
    ticket,
    with_extension,
)
from tests.approval.requests import Desk
from tests.support import organisation as org
from tests.support.harness import NOW, said
from tests.support.stops import stop_of
from tests.support.work import deliver

SECOND = timedelta(seconds=1)


def requested(of: Ticket) -> TicketExtensionRequested:
    extension = of.extensions[0]
    return TicketExtensionRequested(
        subject=of.id,
        version=of.version,
        actor=Actor.service("ticket"),
        at=NOW,
        ticket=of.excerpt([extension.target_id]),
        target_ids=(extension.target_id,),
        grant_ids=extension.grants,
        extension_id=extension.id,
    )


def over(of: Ticket, code: str = "timed_out") -> TicketExtensionRejected:
    fields = requested(of).model_dump()
    return TicketExtensionRejected.model_validate({**fields, "code": code})


def stop(cls: type[StopFact], of: Ticket, *grants: str) -> StopFact:
    return stop_of(cls, of, grants=grants)


def wanted(*, hours: int = 2, of: Ticket | None = None) -> Ticket:
    """Ann's live access for one hour, with another hour asked for."""
    return with_extension(live(of or ticket()), hours=hours)


async def reviewed(desk: Desk, of: Ticket) -> Review:
    """The one review of the ticket's extension, from its request."""
    await deliver(desk.service, requested(of))
    (review,) = [one for one in await desk.reviews_of(of.id) if one.subject.kind == "extension"]
    return review


# opening


async def test_extension_opens_a_review_of_its_subject(desk: Desk, service: Service) -> None:
    of = wanted()
    review = await reviewed(desk, of)
    assert review.subject == extension_subject(of)
    assert (review.state, review.expires_at) == (ReviewState.OPEN, NOW + HOUR)
    facts = [fact for fact in await said(service, ReviewFact) if isinstance(fact, ReviewFact)]
    assert [type(fact) for fact in facts] == [ReviewOpened, ReviewStageOpened]
    assert {(fact.subject_id, fact.subject_kind, fact.target_id, fact.revision) for fact in facts} == {
        (of.extensions[0].id, "extension", of.targets[0].id, 1)
    }


async def test_extension_requested_twice_opens_once(desk: Desk, service: Service) -> None:
    of, event_id = wanted(), new_id()
    for _ in range(2):
        await deliver(service, requested(of), event_id=event_id)
    await deliver(service, requested(of))
    assert len(await desk.reviews_of(of.id)) == 1


async def test_extension_has_a_review_beside_that_of_its_target(desk: Desk, service: Service) -> None:
    before = ticket(target(org.D, org.READ))
    await desk.submitted(before)
    await deliver(service, requested(wanted(of=before)))
    assert [review.subject.kind for review in await desk.reviews_of(before.id)] == ["target", "extension"]


@pytest.mark.parametrize(("more", "auto"), [(timedelta(0), True), (SECOND, False)], ids=["at", "over"])
async def test_extension_is_asked_of_the_rules_for_the_whole_length(
    desk: Desk, service: Service, clock: ManualClock, more: timedelta, *, auto: bool
) -> None:
    """Four hours are approved by the rule itself: of all access, not of what is added."""
    of = wanted(hours=4, of=ticket(target(org.D, org.READ)))
    extension = of.extensions[0].model_copy(update={"ends_at": NOW + 4 * HOUR + more})
    of = of.model_copy(update={"extensions": (extension,)})
    clock.advance(HOUR / 2)
    review = await reviewed(desk, of)
    assert review.subject.length == 4 * HOUR + more
    assert (review.state is ReviewState.APPROVED) is auto
    if auto:
        (approved,) = await said(service, ReviewApproved)
        assert isinstance(approved, ReviewApproved)
        assert approved.window == Window(starts_at=NOW, ends_at=NOW + 4 * HOUR)


async def test_extension_of_a_revision_that_was_asked_for_anew_opens_nothing(
    desk: Desk, service: Service
) -> None:
    of = wanted()
    await deliver(service, requested(revised(of)))
    assert await desk.reviews_of(of.id) == []


# deciding


async def test_extension_approved_is_witnessed_from_the_first_start_to_the_new_end(
    desk: Desk, service: Service, clock: ManualClock
) -> None:
    of = wanted()
    review = await reviewed(desk, of)
    clock.advance(HOUR / 2)
    assert (await desk.decide("carl", review.id)).status_code == 201
    assert (await desk.decide("dora", review.id)).json()["state"] == "approved"
    (approved,) = await said(service, ReviewApproved)
    assert isinstance(approved, ReviewApproved)
    assert approved.window == Window(starts_at=NOW, ends_at=NOW + 2 * HOUR)
    assert approved.content_hash == extension_subject(of).content_hash(approved.window)
    assert approved.subject_id == of.extensions[0].id
    assert [vote.voter.user_name for vote in approved.votes] == ["carl", "dora"]


@pytest.mark.parametrize(("early", "status"), [(SECOND, 201), (timedelta(0), 409)])
async def test_extension_can_be_decided_until_the_end_as_it_is(
    desk: Desk, clock: ManualClock, early: timedelta, status: int
) -> None:
    review = await reviewed(desk, wanted())
    clock.advance(HOUR - early)
    assert (await desk.decide("carl", review.id)).status_code == status


def test_extension_is_not_decided_by_whoever_asks_for_it() -> None:
    of = with_extension(live(ticket()), hours=2, by="carl")
    first = opened((stage(),), electorate(CARLS), of=of).events[1]
    assert isinstance(first, ReviewStageOpened)
    assert [one.user_name for one in first.approvers] == ["cora"]


async def test_extension_is_not_decided_by_whoever_asked_for_the_access(desk: Desk) -> None:
    of = with_extension(live(ticket(requester="carl")), hours=2, by="ann")
    first = opened((stage(),), electorate(CARLS), of=of).events[1]
    assert isinstance(first, ReviewStageOpened)
    assert [one.user_name for one in first.approvers] == ["cora"]
    review = await reviewed(desk, of)
    answer = await desk.decide("carl", review.id)
    assert (answer.status_code, answer.json()["code"]) == (403, "self_approval")
    assert (await desk.decide("cora", review.id)).status_code == 201


async def test_extension_shown_says_from_which_end_to_which(desk: Desk) -> None:
    review = await reviewed(desk, wanted())
    body = (await desk.get("carl", f"/v1/reviews/{review.id}")).json()
    assert (body["kind"], body["subject_id"], body["duration"]) == ("extension", review.subject.id, "PT2H")
    assert body["new_end"] == {"before": "2026-03-02T10:00:00Z", "after": "2026-03-02T11:00:00Z"}
    (target_review,) = await desk.submitted()
    body = (await desk.get("carl", f"/v1/reviews/{target_review.id}")).json()
    assert (body["kind"], body["new_end"]) == ("target", None)


async def test_extension_follows_the_rules_like_any_review(desk: Desk, service: Service) -> None:
    review = await reviewed(desk, wanted())
    replace_rules(service.context.tables, *org.rules()[1:])
    await refresh_reviews(service.context)
    old, new = await desk.reviews_of(review.ticket_id)
    assert (old.state, new.state, new.code) == (ReviewState.VOIDED, ReviewState.REJECTED, "no_rule")
    assert new.subject == review.subject


# stops


@pytest.mark.parametrize("cls", list(STOPS))
async def test_stop_of_its_target_voids_the_extension(
    desk: Desk, service: Service, cls: type[TicketFact]
) -> None:
    of = wanted()
    review = await reviewed(desk, of)
    await deliver(service, stop(cls, of))
    assert (await desk.review(review.id)).state is ReviewState.VOIDED
    (voided,) = await said(service, ReviewVoided)
    assert voided.why == STOPS[cls]


@pytest.mark.parametrize("cls", list(STOPS))
async def test_stop_before_the_request_leaves_nothing_to_open(
    desk: Desk, service: Service, cls: type[TicketFact]
) -> None:
    of = wanted()
    await deliver(service, stop(cls, of))
    await deliver(service, requested(of))
    assert await desk.reviews_of(of.id) == []


@pytest.mark.parametrize("first", ["stop", "request"])
async def test_stop_of_one_beneficiary_leaves_the_extension_to_the_other(
    desk: Desk, service: Service, first: str
) -> None:
    of = wanted(of=ticket(beneficiaries=("ann", "bob")))
    ann, bob = of.grants
    facts = [stop(TicketReturned, of, ann.id), requested(of)]
    for fact in facts if first == "stop" else reversed(facts):
        await deliver(service, fact)
    (review,) = await desk.reviews_of(of.id)
    assert review.state is ReviewState.OPEN
    await deliver(service, stop(TicketReturned, of, bob.id))
    assert (await desk.review(review.id)).state is ReviewState.VOIDED


@pytest.mark.parametrize("first", ["over", "request"])
async def test_extension_that_is_over_for_the_ticket_is_voided_alone(
    desk: Desk, service: Service, first: str
) -> None:
    of = wanted(of=ticket(target(org.P), target(org.D)))
    facts = [over(of), requested(of)]
    for fact in facts if first == "over" else reversed(facts):
        await deliver(service, fact)
    voided = [ReviewState.VOIDED] if first == "request" else []
    assert [one.state for one in await desk.reviews_of(of.id)] == voided
    again = with_extension(of, hours=3)
    review = [one for one in await reviews_after(desk, again) if one.subject.id == again.extensions[0].id]
    assert [one.state for one in review] == [ReviewState.OPEN], "another may be asked for"
    assert {fact.why for fact in await said(service, ReviewVoided)} <= {"the extension is over: timed out"}


async def reviews_after(desk: Desk, of: Ticket) -> list[Review]:
    await deliver(desk.service, requested(of))
    return await desk.reviews_of(of.id)


async def test_extension_that_was_decided_is_not_voided(desk: Desk, service: Service) -> None:
    of = wanted(of=ticket(target(org.D, org.READ)))
    review = await reviewed(desk, of)
    await deliver(service, over(of, "stopped"))
    assert (await desk.review(review.id)).state is ReviewState.APPROVED


def test_stops_cover_a_revision_and_all_before_it_but_none_after() -> None:
    of = ticket()
    again = revised(of)
    stops = Stops.by(stop(TicketReturned, of))
    assert stops.cover(of.subject_of(of.targets[0]))
    assert not stops.cover(again.subject_of(again.targets[0]))
    assert Stops.by(stop(TicketReturned, again)).cover(of.subject_of(of.targets[0]))
    assert Stops.superseded(again.targets).cover(of.subject_of(of.targets[0]))
    assert Stops.superseded(of.targets) == Stops()


# other live grants


async def ends(service: Service) -> list[timedelta]:
    rows = await service.context.pool.fetch("SELECT ends_at FROM live_grant ORDER BY ends_at")
    return [row["ends_at"] - NOW for row in rows]


async def test_extension_approved_moves_the_end_of_the_live_grants(desk: Desk, service: Service) -> None:
    of = ticket(target(org.D, org.READ), beneficiaries=("ann", "eve"))
    await desk.submitted(of)
    assert await ends(service) == [HOUR, HOUR]
    await deliver(service, requested(wanted(hours=3, of=of)))
    assert await ends(service) == [3 * HOUR, 3 * HOUR]


async def test_grants_approved_by_votes_are_live_until_their_end_and_until_the_later_one(
    desk: Desk, service: Service
) -> None:
    """Bob's and eve's on production: each is one that the next approver is told about."""
    of = ticket(beneficiaries=("bob", "eve"))
    (review,) = await desk.submitted(of)
    await approve(desk, review)
    rows = await service.context.pool.fetch("SELECT grant_id, review_id, beneficiary FROM live_grant")
    assert {tuple(row) for row in rows} == {(one.id, review.id, one.beneficiary) for one in of.grants}
    assert await ends(service) == [HOUR, HOUR]
    await approve(desk, await reviewed(desk, wanted(hours=3, of=of)))
    assert await ends(service) == [3 * HOUR, 3 * HOUR]


async def approve(desk: Desk, review: Review) -> None:
    for who in ("carl", "dora"):
        answer = await desk.decide(who, review.id)
    assert answer.json()["state"] == "approved"


async def test_extension_approved_does_not_bring_a_stopped_grant_back(desk: Desk, service: Service) -> None:
    of = ticket(target(org.D, org.READ), beneficiaries=("ann", "eve"))
    await desk.submitted(of)
    await deliver(service, stop(TicketReturned, live(of), of.grants[0].id))
    await deliver(service, requested(wanted(hours=3, of=of)))
    assert await ends(service) == [3 * HOUR]


async def test_extension_that_is_over_leaves_the_live_grants_alone(desk: Desk, service: Service) -> None:
    of = ticket(target(org.D, org.READ))
    await desk.submitted(of)
    await deliver(service, over(wanted(of=of)))
    assert await ends(service) == [HOUR]
