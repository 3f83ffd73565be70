"""What is known of a ticket does not depend on when and how often its facts come."""

import random
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.known import KnownTicket, learn, merge
from shared.contracts.ticket import Ticket
from tests.notifier.facts import TWO, a_ticket, grant, target
from tests.support.lives import Told, lives


def tickets(life: list[Told]) -> list[Ticket]:
    return [one.fact.ticket for one in life if one.fact.ticket]


def learned(told: list[Ticket]) -> KnownTicket:
    known = None
    for one in told:
        known = learn(known, one)
    assert known is not None
    return known


@given(life=lives(reported=False), shuffle=st.randoms(use_true_random=False))
def test_all_facts_together_tell_the_whole_ticket_in_whatever_order(
    life: list[Told], shuffle: random.Random
) -> None:
    told = tickets(life)
    late = [*told, *shuffle.sample(told, k=len(told) // 2)]
    shuffle.shuffle(late)
    whole = life[-1].whole
    assert whole is not None
    assert learned(late).ticket == KnownTicket.by(whole).ticket


@given(life=lives(), shuffle=st.randoms(use_true_random=False))
def test_facts_that_came_tell_the_same_in_whatever_order(life: list[Told], shuffle: random.Random) -> None:
    """Also where some have not come yet, and the ticket changed without a fact of its own."""
    told = tickets(life)
    came = shuffle.sample(told, k=max(1, len(told) - 2))
    in_order = learned(sorted(came, key=lambda one: one.version))
    assert learned(came) == in_order
    assert in_order.ticket.version == max(one.version for one in came)
    for target_id, version in in_order.versions.items():
        newest = max((one for one in came if one.target(target_id)), key=lambda one: one.version)
        assert version == newest.version
        assert in_order.ticket.target(target_id) == newest.target(target_id)
        assert set(in_order.ticket.grants_of(target_id)) == set(newest.grants_of(target_id))


@given(life=lives(), shuffle=st.randoms(use_true_random=False))
def test_what_several_mails_knew_is_put_together_in_whatever_order(
    life: list[Told], shuffle: random.Random
) -> None:
    known = [KnownTicket.by(one) for one in tickets(life)]
    mixed = shuffle.sample(known, k=len(known))
    assert reduce(merge, mixed) == reduce(merge, known)
    assert merge(known[0], known[0]) == known[0]


def test_a_revised_target_takes_its_earlier_grants_along() -> None:
    again = target(revision=2, subject_id="another")
    revised = TWO.model_copy(
        update={"version": 2, "targets": (again,), "grants": (grant(id="new", revision=2),)}
    )
    known = learned([TWO, revised])
    assert [one.id for one in known.ticket.grants] == ["grant-2", "new"]
    assert known == learned([revised, TWO])
    assert (known.version_of("target-1"), known.version_of("target-2"), known.version_of("?")) == (2, 1, 0)


def test_the_head_is_that_of_the_newest_fact() -> None:
    newer = a_ticket(version=3, targets=(), grants=(), reference="CHG-9")
    for told in ([a_ticket(version=2), newer], [newer, a_ticket(version=2)]):
        known = learned(told)
        assert (known.ticket.version, known.ticket.reference) == (3, "CHG-9")
        assert known.version_of("target-1") == 2
