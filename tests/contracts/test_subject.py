"""What an approval binds: everything that was shown, the kind, and the window."""

from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.extension import ExtensionState
from shared.contracts.subject import ApprovalSubject, SubjectGrant, SubjectKind
from shared.contracts.ticket import Ticket
from shared.contracts.windows import Window, WindowAsked
from tests.support.fact_parts import EXTENDED, WINDOW, extended, person, ticket

HOUR = timedelta(hours=1)


def subject(**changes: Any) -> ApprovalSubject:
    born = ticket()
    return born.subject_of(born.targets[0]).model_copy(update=changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": SubjectKind.EXTENSION},
        {"id": "another"},
        {"instance": "another"},
        {"ticket_id": "another"},
        {"target_id": "another"},
        {"revision": 2},
        {"grants": ()},
        {"grants": (SubjectGrant(id="another", beneficiary=person("ann").user_id),)},
        {"grants": (SubjectGrant(id=ticket().grants[0].id, beneficiary=person("bob").user_id),)},
        {"account_id": "210987654321"},
        {"set_id": "ps-another"},
        {"set_digest": "another"},
    ],
    ids=",".join,
)
def test_whatever_else_is_approved_has_another_hash(changes: dict[str, Any]) -> None:
    assert subject(**changes).content_hash(WINDOW) != subject().content_hash(WINDOW)


def test_another_window_has_another_hash_and_another_zone_has_not() -> None:
    whole = subject().content_hash(WINDOW)
    longer = Window(starts_at=WINDOW.starts_at, ends_at=WINDOW.ends_at + timedelta(microseconds=1))
    assert subject().content_hash(longer) != whole
    assert subject(reason="said otherwise").content_hash(WINDOW) == whole


def test_parties_are_all_it_is_for() -> None:
    other = SubjectGrant(id="g", beneficiary=person("bob").user_id)
    one = subject(requester=person("carl"), grants=(other,))
    assert one.parties == {person(name).user_id for name in ("ann", "bob", "carl")}


def test_an_extension_is_also_of_whoever_asked_for_the_access() -> None:
    one = extended(ExtensionState.PENDING).model_copy(update={"requester": person("carl")})
    made = one.extension_subject(one.extensions[0])
    assert made is not None
    assert made.requester == person("ann")
    assert made.other_parties == (person("carl"),)
    assert made.parties == {person(name).user_id for name in ("ann", "carl")}
    assert requested()[1].other_parties == (), "named once"
    assert one.subject_of(one.targets[0]).other_parties == ()


def test_an_extension_for_one_is_also_of_the_other_beneficiaries() -> None:
    both = (person("ann"), person("bob"))
    one = extended(ExtensionState.PENDING).model_copy(update={"beneficiaries": both})
    made = one.extension_subject(one.extensions[0])
    assert made is not None
    assert (made.beneficiaries, made.other_parties) == ((person("ann"),), (person("bob"),))
    assert made.parties == one.parties


def requested() -> tuple[Ticket, ApprovalSubject]:
    one = extended(ExtensionState.PENDING)
    made = one.extension_subject(one.extensions[0])
    assert made is not None
    return one, made


def test_an_extension_counts_from_the_first_start_whenever_it_is_approved() -> None:
    _, made = requested()
    assert made.length == EXTENDED.length
    for moment in (EXTENDED.starts_at, WINDOW.ends_at, EXTENDED.ends_at - timedelta(microseconds=1)):
        assert made.window_at(moment) == EXTENDED
    assert made.window_at(EXTENDED.ends_at) is None


def test_a_target_begins_when_it_is_approved_at_the_earliest() -> None:
    made = subject(asked=WindowAsked(starts_at=WINDOW.starts_at, ends_at=WINDOW.ends_at))
    late = WINDOW.starts_at + timedelta(minutes=5)
    assert made.window_at(late) == Window(starts_at=late, ends_at=WINDOW.ends_at)
    assert made.window_at(WINDOW.ends_at) is None


def test_an_extension_of_another_revision_or_of_nothing_approved_is_no_subject() -> None:
    one, _ = requested()
    revised = one.targets[0].model_copy(update={"revision": 2})
    pending = one.targets[0].model_copy(update={"window": None})
    for target in (revised, pending):
        assert one.model_copy(update={"targets": (target,)}).extension_subject(one.extensions[0]) is None
