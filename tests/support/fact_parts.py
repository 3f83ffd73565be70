"""What the examples of events are made of: fixed ids, people, a ticket, a vote, documents before and after.

Used by tests/support/facts.py, which makes the events.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from shared.configuration.kinds.every import KINDS
from shared.contracts.approval import Vote
from shared.contracts.documents import (
    Document,
)
from shared.contracts.event import Actor, Revisions
from shared.contracts.extension import Extension, ExtensionState
from shared.contracts.people import Person
from shared.contracts.ticket import Grant, GrantState, Target, TargetState, Ticket, TicketState
from shared.contracts.windows import Window, WindowAsked
from tests.support.harness import NOW
from tests.support.organisation import ADMIN, ISSUER, P, user_id

TICKET_ID: Final = "0195556a-0000-7000-8000-000000000001"
TARGET_ID: Final = "0195556a-0000-7000-8000-000000000002"
GRANT_ID: Final = "0195556a-0000-7000-8000-000000000003"
REVIEW_ID: Final = "0195556a-0000-7000-8000-000000000004"
SUBJECT_ID: Final = "0195556a-0000-7000-8000-000000000008"
EXTENSION_ID: Final = "0195556a-0000-7000-8000-000000000009"
REQUEST_ID: Final = "0195556a-0000-7000-8000-000000000005"
CONFLICT_ID: Final = "0195556a-0000-7000-8000-00000000000a"
AWS_REQUEST_ID: Final = "5d7f1f2f-9e11-4f1a-8a51-000000000006"

REVISIONS: Final = Revisions(catalog=12, rules=3, inventory=40)
EXTENDED: Final = Window(starts_at=NOW + timedelta(minutes=9), ends_at=NOW + timedelta(minutes=129))
WINDOW: Final = Window(starts_at=NOW + timedelta(minutes=9), ends_at=NOW + timedelta(minutes=69))


def person(name: str) -> Person:
    return Person(
        user_id=user_id(name), user_name=name, display_name=name.title(), email=f"{name}@example.com"
    )


def somebody(name: str) -> Actor:
    """A person as an actor, by a token."""
    return Actor(
        kind="person",
        name=name,
        user_id=user_id(name),
        iss=ISSUER,
        sub=f"sub-{name}",
        client="jit-portal",
        ip="192.0.2.10",
        auth_time=NOW - timedelta(minutes=5),
        acr="mfa",
    )


def ticket(
    target: TargetState = TargetState.PENDING,
    grant: GrantState | None = None,
    state: TicketState = TicketState.PENDING,
    **grant_fields: Any,
) -> Ticket:
    """The request of ann for Administrator on prod-payments, one hour."""
    return Ticket(
        id=TICKET_ID,
        instance="default",
        version=2,
        requester=person("ann"),
        beneficiaries=(person("ann"),),
        targets=(_target(target),),
        grants=(
            Grant(id=GRANT_ID, target_id=TARGET_ID, beneficiary=user_id("ann"), state=grant, **grant_fields),
        ),
        reference="CHG-4711",
        link="https://changes.example.com/CHG-4711",
        submitted_at=NOW,
        state=state,
        revisions=REVISIONS,
    )


def extended(state: ExtensionState, **fields: Any) -> Ticket:
    """Ann's live access, with a later end asked for."""
    live = ticket(
        TargetState.APPROVED, GrantState.ACTIVE, TicketState.ACTIVE,
        ends_at=WINDOW.ends_at, granted_at=WINDOW.starts_at,
    )  # fmt: skip
    extension = Extension(
        id=EXTENSION_ID,
        target_id=TARGET_ID,
        revision=1,
        grants=(GRANT_ID,),
        requested_by=person("ann"),
        ends_at=EXTENDED.ends_at,
        reason="The hotfix needs another hour of watching",
        submitted_at=NOW + timedelta(minutes=50),
        expires_at=WINDOW.ends_at,
        state=state,
        **fields,
    )
    return live.model_copy(update={"extensions": (extension,)})


def _target(state: TargetState) -> Target:
    decided = state is not TargetState.PENDING
    return Target(
        id=TARGET_ID,
        account_id=P,
        account_name="prod-payments",
        set_id=ADMIN,
        set_name="Administrator",
        set_digest="digest-Administrator",
        session_duration=timedelta(hours=1),
        subject_id=SUBJECT_ID,
        asked=WindowAsked(duration=timedelta(hours=1)),
        reason="Deploy the payments hotfix of change 4711",
        submitted_at=NOW,
        expires_at=NOW + timedelta(hours=24),
        state=state,
        window=WINDOW if state is TargetState.APPROVED else None,
        decided_at=NOW + timedelta(minutes=9) if decided else None,
    )


def vote(verdict: str) -> Vote:
    return Vote.model_validate(
        {
            "id": "0195556a-0000-7000-8000-000000000007",
            "stage": 1,
            "verdict": verdict,
            "voter": person("carl"),
            "comment": "seen with the team",
            "proof": ("rule/prod allow group:group-owners-prod approve/prod/1 ou:ou-prod *",),
            "revisions": REVISIONS,
            "at": NOW + timedelta(minutes=4),
        }
    )


DOCUMENTS: Final[Mapping[str, tuple[Document, Document]]] = {kind.noun: kind.examples for kind in KINDS}
"""Noun of the event type to the document before and after."""
