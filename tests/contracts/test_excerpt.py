"""What a fact carries of its ticket: no more than it is about, and that as the whole would say it."""

from typing import Any

import pytest
from hypothesis import given

from services.approval.domain.stops import Stops
from services.ticket.domain.reviews import approve
from shared.contracts.extension import Extension
from shared.contracts.stop import StopFact
from shared.contracts.subject import ApprovalSubject
from shared.contracts.ticket import Target, Ticket, TicketApproved, TicketFact
from shared.contracts.windows import Window
from tests.support.builders import review_approved
from tests.support.facts import example
from tests.support.harness import NOW
from tests.support.lives import MINUTE, Told, Turn, lives, submitted

PARTS = {"targets", "grants", "extensions"}
WINDOW = Window(starts_at=NOW, ends_at=NOW + 30 * MINUTE)
WIDE = 47


def sent(life: list[Told]) -> list[tuple[TicketFact | StopFact, Ticket, Ticket]]:
    """Each fact with its ticket as it carries it, and whole."""
    return [(one.fact, one.fact.ticket, one.whole) for one in life if one.fact.ticket and one.whole]


def hashed(subject: ApprovalSubject | None) -> str | None:
    return subject.content_hash(WINDOW) if subject else None


def subjects(ticket: Ticket, of: Ticket) -> dict[str, ApprovalSubject | None]:
    """Of all targets and extensions that `of` has, as `ticket` says them."""
    parts: list[Target | Extension] = [*of.targets, *of.extensions]
    return {
        one.id: ticket.subject_of(one) if isinstance(one, Target) else ticket.extension_subject(one)
        for one in parts
    }


@given(life=lives())
def test_a_fact_has_the_head_and_the_targets_it_is_about_and_no_others(life: list[Told]) -> None:
    for fact, carried, whole in sent(life):
        assert carried.model_dump(exclude=PARTS) == whole.model_dump(exclude=PARTS)
        named = isinstance(fact, StopFact) or fact.target_ids or fact.grant_ids
        about = fact.part_of(carried) if isinstance(fact, StopFact) else fact.part
        wanted = [target.id for target in about.targets] if named else [one.id for one in whole.targets]
        assert [target.id for target in carried.targets] == wanted
        assert carried.grants == tuple(one for one in whole.grants if one.target_id in wanted)
        assert carried.extensions == tuple(one for one in whole.extensions if one.target_id in wanted)


@given(life=lives())
def test_a_fact_is_about_the_same_as_with_the_whole_ticket(life: list[Told]) -> None:
    for fact, _, whole in sent(life):
        with_whole = fact.model_copy(update={"ticket": whole})
        assert fact.about == with_whole.about
        if isinstance(fact, StopFact) or isinstance(with_whole, StopFact):
            continue
        assert fact.part == with_whole.part
        assert Stops.decided(fact) == Stops.decided(with_whole)


@given(life=lives())
def test_what_is_approved_has_the_same_content_as_by_the_whole_ticket(life: list[Told]) -> None:
    """Three services compare hashes of it, and two of them know no more of the ticket than this."""
    for _, carried, whole in sent(life):
        by_part, by_whole = subjects(carried, of=carried), subjects(whole, of=carried)
        assert by_part == by_whole
        assert [hashed(one) for one in by_part.values()] == [hashed(one) for one in by_whole.values()]


def of_width(count: int) -> Ticket:
    """Of bob for ann and himself, with that many targets."""
    one = submitted(1).state
    numbers = range(1, count + 1)
    first = one.targets[0]
    targets = [first.model_copy(update={"id": f"target-{n}", "subject_id": f"s-{n}"}) for n in numbers]
    grants = [
        grant.model_copy(update={"id": f"{grant.id}-{n}", "target_id": f"target-{n}"})
        for n in numbers
        for grant in one.grants
    ]
    return one.model_copy(update={"targets": tuple(targets), "grants": tuple(grants)})


def approved_one_by_one(ticket: Ticket) -> list[Any]:
    facts = []
    for number, target in enumerate(ticket.targets, start=1):
        turn = Turn(NOW + number * MINUTE, number)
        review = review_approved(ticket, target, at=turn.at)
        change = approve(ticket, ticket.subject_of(target), review, turn.origin)
        ticket, facts = change.state, [*facts, *change.events]
    return facts


def test_a_wide_ticket_is_not_repeated_with_each_of_its_targets() -> None:
    (alone,) = approved_one_by_one(of_width(1))
    facts = approved_one_by_one(of_width(WIDE))
    assert [type(fact) for fact in facts] == [TicketApproved] * WIDE
    sizes = [len(fact.model_dump_json()) for fact in facts]
    assert max(sizes) < 1.1 * len(alone.model_dump_json())


@pytest.mark.parametrize("named", [(), ("of another ticket",)])
def test_an_excerpt_of_no_target_is_the_head_alone(named: tuple[str, ...]) -> None:
    whole = example(TicketApproved).ticket
    head = whole.excerpt(named)
    assert (head.targets, head.grants, head.extensions) == ((), (), ())
    assert head.parties == whole.parties
