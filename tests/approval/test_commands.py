import asyncio
from datetime import datetime, timedelta

import pytest

from services.approval import views
from services.approval.background import keep_fresh, refresh_reviews
from services.approval.commands.reviews import ENDS, STOPS
from services.approval.domain.review import Review, ReviewState
from services.approval.settings import ApprovalSettings
from services.approval.store import reviews
from shared.contracts.approval import (
    ReviewApproved,
    ReviewFact,
    ReviewOpened,
    ReviewRejected,
    ReviewStageOpened,
    ReviewVoided,
)
from shared.contracts.documents import ApprovalRule
from shared.contracts.event import Actor, Revisions
from shared.contracts.stop import StopFact, TicketTerminated, TicketWithdrawn
from shared.contracts.ticket import (
    TargetState,
    Ticket,
    TicketFact,
    TicketSubmitted,
)
from shared.contracts.windows import WindowAsked
from shared.documents.tables import Tables
from shared.foundation.clock import ManualClock, new_id
from shared.foundation.errors import NotReady
from shared.policy.policy import Policy
from shared.policy.snapshot import PATIENCE
from shared.runtime.service import Service
from tests.approval.builders import HOUR, put_documents, replace_rules, revised, target, ticket, with_state
from tests.support import organisation as org
from tests.support.harness import NOW, said
from tests.support.signing import TRUST, key_settings
from tests.support.stops import stop_of
from tests.support.work import deliver


def fact_of(
    cls: type[TicketFact], of: Ticket, *, targets: tuple[str, ...] = (), grants: tuple[str, ...] = ()
) -> TicketFact:
    return cls(
        subject=of.id,
        version=of.version,
        actor=Actor.service("ticket"),
        at=NOW,
        ticket=of.as_told(targets, grants),
        target_ids=targets,
        grant_ids=grants,
    )


async def submit(service: Service, of: Ticket, *, event_id: str | None = None, at: datetime = NOW) -> None:
    fact = fact_of(TicketSubmitted, of).model_copy(update={"at": at})
    await deliver(service, fact, event_id=event_id)


async def stop(
    service: Service,
    cls: type[StopFact],
    of: Ticket,
    *,
    targets: tuple[str, ...] = (),
    grants: tuple[str, ...] = (),
    event_id: str | None = None,
) -> None:
    await deliver(service, stop_of(cls, of, targets=targets, grants=grants), event_id=event_id)


async def end(
    service: Service, cls: type[StopFact | TicketFact], of: Ticket, *, event_id: str | None = None
) -> None:
    """By a stop, or by another fact after which nothing is reviewed."""
    fact = stop_of(cls, of) if issubclass(cls, StopFact) else fact_of(cls, of)
    await deliver(service, fact, event_id=event_id)


async def reviews_of(service: Service, of: Ticket) -> list[Review]:
    async with service.context.pool.acquire() as conn:
        return await views.reviews_of_ticket(conn, of.id)


async def published(service: Service) -> list[type[ReviewFact]]:
    return [type(event) for event in await said(service, ReviewFact)]  # type: ignore[misc]


# opening


async def test_submit_opens_a_review_per_pending_target(service: Service) -> None:
    of = ticket(target(org.P), target(org.D))
    await submit(service, of)
    assert await published(service) == [ReviewOpened, ReviewStageOpened] * 2
    first, second = await reviews_of(service, of)
    assert [stage.rule_id for stage in first.stages] == ["prod", "prod"]
    assert [stage.rule_id for stage in second.stages] == ["dev"]
    (opened, stage_opened, *_) = await said(service)
    assert isinstance(opened, ReviewOpened)
    assert isinstance(stage_opened, ReviewStageOpened)
    assert (opened.subject, opened.ticket_id, opened.ticket_version) == (of.id, of.id, 1)
    assert opened.actor == Actor.service("approval")
    assert opened.revisions == service.context.policy.known().revisions
    assert [person.user_name for person in stage_opened.approvers] == ["carl", "cora"]


async def test_submit_delivered_twice_opens_once(service: Service) -> None:
    of, event_id = ticket(), new_id()
    await submit(service, of, event_id=event_id)
    await submit(service, of, event_id=event_id)
    assert await published(service) == [ReviewOpened, ReviewStageOpened]


async def test_submit_published_again_under_another_id_opens_once(service: Service) -> None:
    of = ticket()
    await submit(service, of)
    await submit(service, of)
    assert len(await reviews_of(service, of)) == 1


async def test_submit_two_deliveries_at_once_open_once(service: Service) -> None:
    of = ticket()
    await asyncio.gather(submit(service, of), submit(service, of))
    assert len(await reviews_of(service, of)) == 1


async def test_submit_of_an_older_revision_than_reviewed_is_stale(service: Service) -> None:
    of = ticket()
    await submit(service, revised(of))
    await submit(service, of)
    (review,) = await reviews_of(service, of)
    assert (review.subject.revision, review.ticket_version) == (2, 4)


async def test_submit_leaves_targets_alone_that_are_not_pending(service: Service) -> None:
    of = with_state(ticket(), TargetState.WITHDRAWN)
    await submit(service, of)
    assert await reviews_of(service, of) == []


async def test_submit_without_a_rule_by_now_is_rejected(service: Service) -> None:
    replace_rules(service.context.tables, *[rule for rule in org.rules() if rule.id != "prod"])
    of = ticket()
    await submit(service, of)
    (fact,) = await said(service)
    assert isinstance(fact, ReviewRejected)
    assert fact.code == "no_rule"


async def test_submit_that_only_a_party_could_approve_is_unapprovable(service: Service) -> None:
    of = ticket(target(org.P), requester="dora", beneficiaries=("ann",))
    await submit(service, of)
    (fact,) = await said(service)
    assert isinstance(fact, ReviewRejected)
    assert fact.code == "unapprovable"


@pytest.mark.parametrize(
    ("asked", "auto"),
    [
        (WindowAsked(duration=4 * HOUR - timedelta(seconds=1)), True),
        (WindowAsked(duration=4 * HOUR), True),
        (WindowAsked(duration=4 * HOUR + timedelta(seconds=1)), False),
        (WindowAsked(ends_at=NOW + 4 * HOUR), True),
        (WindowAsked(starts_at=NOW + HOUR, ends_at=NOW + 5 * HOUR), True),
        (WindowAsked(starts_at=NOW + HOUR, ends_at=NOW + 5 * HOUR + timedelta(seconds=1)), False),
    ],
    ids=["just under", "at", "just over", "open start", "fixed", "fixed just over"],
)
async def test_submit_within_the_limit_is_approved_by_the_rule(
    service: Service, asked: WindowAsked, *, auto: bool
) -> None:
    of = ticket(target(org.D, org.READ), asked=asked)
    await submit(service, of)
    if not auto:
        assert await published(service) == [ReviewOpened, ReviewStageOpened]
        return
    opened, approved = await said(service)
    assert isinstance(opened, ReviewOpened)
    assert isinstance(approved, ReviewApproved)
    assert (opened.auto_approved_by, approved.auto_approved_by) == ("dev-read", "dev-read")
    assert approved.content_hash == of.subject_of(of.targets[0]).content_hash(approved.window)


async def test_submit_while_the_tables_are_not_ready_decides_nothing_and_is_tried_again(
    service: Service, clock: ManualClock
) -> None:
    whole = service.context.tables
    service.context.tables = Tables(
        policy=Policy(clock=clock, stale_after=timedelta(seconds=60)),
        settings=service.settings.kafka,
        trust=TRUST,
    )
    of, event_id = ticket(), new_id()
    with pytest.raises(NotReady):
        await submit(service, of, event_id=event_id)
    assert await said(service) == []
    service.context.tables = whole
    await submit(service, of, event_id=event_id)
    assert await published(service) == [ReviewOpened, ReviewStageOpened]


async def test_submit_on_newer_documents_waits_for_them_but_not_for_ever(
    service: Service, clock: ManualClock
) -> None:
    """A forged one may name a revision that never comes: it must not hold up those behind it."""
    ahead = Revisions(rules=service.context.policy.known().revisions.rules + 1)
    of = ticket(revisions=ahead)
    with pytest.raises(NotReady) as caught:
        await submit(service, of)
    assert caught.value.code == "tables_behind"
    clock.advance(PATIENCE)
    await submit(service, of, at=clock.now() - PATIENCE)
    assert await published(service) == [ReviewOpened, ReviewStageOpened]


async def test_submit_from_a_time_to_come_opens_nothing_and_holds_up_nobody(service: Service) -> None:
    ahead = Revisions(rules=10**9)
    await submit(service, ticket(revisions=ahead), at=NOW + timedelta(days=1))
    assert await published(service) == []


async def test_submit_waits_while_the_documents_here_are_stale(
    service: Service, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.context.policy, "_stale_after", HOUR)
    clock.advance(2 * HOUR)
    assert service.context.policy.stale
    with pytest.raises(NotReady):
        await submit(service, ticket(), at=clock.now())
    assert await published(service) == []


async def test_stage_opened_counts_other_live_grants_of_the_beneficiaries(service: Service) -> None:
    live = ticket(target(org.D, org.READ), target(org.D, org.READ), beneficiaries=("ann", "bob"))
    ended = ticket(target(org.D, org.READ))
    await submit(service, live)
    await submit(service, ended)
    await stop(service, TicketTerminated, ended)
    await stop(service, TicketTerminated, live, grants=(live.grants[0].id,))
    await submit(service, ticket(beneficiaries=("ann",)))
    (fact,) = await said(service, ReviewStageOpened)
    assert isinstance(fact, ReviewStageOpened)
    assert fact.other_grants == 1
    assert [one.beneficiary.user_name for one in fact.other_grants_listed] == ["ann"]
    assert fact.earlier_rejections_listed == ()


async def test_stage_opened_names_the_other_grants_that_last_longest(service: Service) -> None:
    for hours in range(1, 5):
        await submit(service, ticket(target(org.D, org.READ), asked=WindowAsked(duration=hours * HOUR)))
    await submit(service, ticket(target(org.D, org.READ), asked=WindowAsked(ends_at=NOW + 4 * HOUR)))
    await submit(service, ticket(target(org.D, org.READ), asked=WindowAsked(ends_at=NOW + 2 * HOUR)))
    await submit(service, ticket())
    (fact,) = await said(service, ReviewStageOpened)
    assert isinstance(fact, ReviewStageOpened)
    assert fact.other_grants == 6
    assert [one.ends_at - NOW for one in fact.other_grants_listed] == [h * HOUR for h in (4, 4, 3, 2, 2)]
    first = fact.other_grants_listed[0]
    assert (first.beneficiary.user_name, first.account_id, first.account_name, first.set_name) == (
        "ann", org.D, "dev-web", "ReadOnly",
    )  # fmt: skip


# stops


@pytest.mark.parametrize("cls", [*STOPS, *ENDS])
async def test_stop_voids_the_open_reviews_once(service: Service, cls: type[StopFact | TicketFact]) -> None:
    of, event_id = ticket(target(org.P), target(org.D)), new_id()
    await submit(service, of)
    await end(service, cls, of, event_id=event_id)
    await end(service, cls, of, event_id=event_id)
    await end(service, cls, of)
    voided = await said(service, ReviewVoided)
    assert len(voided) == 2
    assert [event.why for event in voided] == [{**STOPS, **ENDS}[cls]] * 2
    assert {review.state for review in await reviews_of(service, of)} == {ReviewState.VOIDED}


@pytest.mark.parametrize("cls", [*STOPS, *ENDS])
async def test_stop_before_the_submit_leaves_nothing_to_open(
    service: Service, cls: type[StopFact | TicketFact]
) -> None:
    of = ticket()
    await end(service, cls, with_state(of, TargetState.WITHDRAWN))
    await submit(service, of)
    assert await reviews_of(service, of) == []
    assert await said(service) == []


async def test_stop_of_one_target_leaves_the_other(service: Service) -> None:
    of = ticket(target(org.P), target(org.D))
    await submit(service, of)
    await stop(service, TicketWithdrawn, of, targets=(of.targets[0].id,))
    states = {review.subject.target_id: review.state for review in await reviews_of(service, of)}
    assert states == {of.targets[0].id: ReviewState.VOIDED, of.targets[1].id: ReviewState.OPEN}


async def test_stop_of_one_target_before_the_submit_opens_the_other(service: Service) -> None:
    of = ticket(target(org.P), target(org.D))
    await stop(service, TicketWithdrawn, of.model_copy(update={"version": 3}), targets=(of.targets[0].id,))
    await submit(service, of)
    (review,) = await reviews_of(service, of)
    assert review.subject.target_id == of.targets[1].id


async def test_stop_that_names_grants_concerns_their_targets(service: Service) -> None:
    of = ticket(target(org.P), target(org.D))
    await submit(service, of)
    await stop(service, TicketTerminated, of, grants=(of.grants[1].id,))
    states = {review.subject.target_id: review.state for review in await reviews_of(service, of)}
    assert states[of.targets[0].id] is ReviewState.OPEN
    assert states[of.targets[1].id] is ReviewState.VOIDED


async def test_stop_of_an_earlier_revision_leaves_the_later_one(service: Service) -> None:
    of = ticket()
    await submit(service, revised(of))
    await stop(service, TicketWithdrawn, of)
    (review,) = await reviews_of(service, of)
    assert review.state is ReviewState.OPEN


async def test_stop_needs_no_policy(service: Service, clock: ManualClock) -> None:
    of = ticket()
    await submit(service, of)
    service.context.tables = Tables(
        policy=Policy(clock=clock, stale_after=timedelta(seconds=60)),
        settings=service.settings.kafka,
        trust=TRUST,
    )
    await stop(service, TicketTerminated, of)
    (review,) = await reviews_of(service, of)
    assert review.state is ReviewState.VOIDED


async def test_stop_of_what_was_decided_changes_no_decision(service: Service) -> None:
    of = ticket(target(org.D, org.READ))
    await submit(service, of)
    await stop(service, TicketTerminated, of)
    (review,) = await reviews_of(service, of)
    assert review.state is ReviewState.APPROVED


# following the documents


def two_approvers() -> ApprovalRule:
    rule = org.rules()[0]
    assert isinstance(rule, ApprovalRule)
    return rule.model_copy(update={"stages": (org.stage("owners-prod", needed=2),)})


async def test_refresh_without_a_change_does_nothing(service: Service) -> None:
    await submit(service, ticket())
    before = await said(service)
    assert await refresh_reviews(service.context) == 0
    assert await said(service) == before


async def test_refresh_after_a_rule_change_voids_and_opens_anew(service: Service) -> None:
    of = ticket()
    await submit(service, of)
    replace_rules(service.context.tables, two_approvers(), *org.rules()[1:])
    assert await refresh_reviews(service.context) == 1
    assert await refresh_reviews(service.context) == 0
    old, new = await reviews_of(service, of)
    assert (old.state, new.state) == (ReviewState.VOIDED, ReviewState.OPEN)
    assert (new.subject, new.ticket_version) == (old.subject, 1)
    assert [stage.needed for stage in new.stages] == [2]
    assert await published(service) == [
        ReviewOpened, ReviewStageOpened, ReviewVoided, ReviewOpened, ReviewStageOpened,
    ]  # fmt: skip


async def test_refresh_after_the_rule_is_gone_rejects_for_lack_of_one(service: Service) -> None:
    of = ticket()
    await submit(service, of)
    replace_rules(service.context.tables, *org.rules()[1:])
    await refresh_reviews(service.context)
    _old, new = await reviews_of(service, of)
    assert (new.state, new.code) == (ReviewState.REJECTED, "no_rule")


async def test_refresh_leaves_a_review_alone_that_was_just_opened_on_newer_documents(
    service: Service,
) -> None:
    of = ticket()
    await submit(service, of)
    await service.context.pool.execute(
        "UPDATE review SET stages = '[]', revisions = jsonb_set(revisions, '{rules}', '99')"
    )
    assert await refresh_reviews(service.context) == 0


async def test_refresh_leaves_a_review_alone_whose_time_is_over(service: Service, clock: ManualClock) -> None:
    await submit(service, ticket())
    replace_rules(service.context.tables, *org.rules()[1:])
    clock.advance(timedelta(hours=24))
    assert await refresh_reviews(service.context) == 0


async def test_refresh_after_a_membership_change_rewrites_who_may_vote_and_says_nothing(
    service: Service,
) -> None:
    of = ticket()
    await submit(service, of)
    facts = await said(service)
    (review,) = await reviews_of(service, of)
    owners = org.members(org.group_id("owners-prod"), *map(org.user_id, ("cora", "bob", "ann")), revision=99)
    put_documents(service.context.tables, "provisioner", org.replaced("provisioner", *owners))
    assert await refresh_reviews(service.context) == 0
    async with service.context.pool.acquire() as conn:
        found = await reviews.open_reviews_with_approvers(conn, after="", limit=10)
    assert {(one.id, recorded) for one, recorded in found} == {
        (review.id, frozenset({org.user_id("cora"), org.user_id("bob")}))
    }
    assert await said(service) == facts


async def test_refresh_goes_through_more_reviews_than_one_batch(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.approval.background.BATCH", 2)
    for _ in range(5):
        await submit(service, ticket())
    replace_rules(service.context.tables, two_approvers(), *org.rules()[1:])
    assert await refresh_reviews(service.context) == 5


async def test_refresh_forgets_grants_that_have_ended(service: Service, clock: ManualClock) -> None:
    await submit(service, ticket(target(org.D, org.READ)))
    clock.advance(HOUR)
    await refresh_reviews(service.context)
    assert await service.context.pool.fetchval("SELECT count(*) FROM live_grant") == 0


async def test_keep_fresh_notices_a_moved_revision_by_itself(service: Service) -> None:
    of = ticket()
    await submit(service, of)
    settings = ApprovalSettings(
        database_url=service.settings.database_url,
        refresh_poll_s=0.001,
        env="development",
        **key_settings("approval"),
    )
    running = asyncio.create_task(keep_fresh(service.context, settings))
    replace_rules(service.context.tables, *org.rules()[1:])
    async with asyncio.timeout(10):
        while len(await reviews_of(service, of)) < 2:  # noqa: ASYNC110 (nothing tells when a task has run)
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
