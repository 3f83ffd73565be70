"""What a fact is about: the table that the audit log, the notifier and everybody else goes by."""

from typing import Any

import pytest

from shared.contracts import access, approval, configuration, identity, notification, ticket
from shared.contracts.configuration import facts_of
from shared.contracts.documents import ApprovalRule, RegisteredAccount, RegisteredSet
from shared.contracts.event import About, Event
from tests.support.facts import GRANT_ID, TARGET_ID, TICKET_ID, contract_events, example, person, somebody
from tests.support.organisation import P, S, user_id

RULE_FACTS = facts_of(ApprovalRule)
ACCOUNT_FACTS = facts_of(RegisteredAccount)
SET_FACTS = facts_of(RegisteredSet)

ANN, EVE = user_id("ann"), user_id("eve")
OTHER_TARGET, OTHER_GRANT, EVES_GRANT = "other-target", "other-grant", "eves-grant"


def wide(cls: type[ticket.TicketFact] = ticket.TicketTimedOut, **named: Any) -> ticket.TicketFact:
    """Ann asks for ann and eve: both on P, ann alone on S."""
    whole = example(cls).ticket
    first = whole.targets[0]
    grants = (
        *whole.grants,
        ticket.Grant(id=OTHER_GRANT, target_id=OTHER_TARGET, beneficiary=ANN),
        ticket.Grant(id=EVES_GRANT, target_id=TARGET_ID, beneficiary=EVE),
    )
    changed = whole.model_copy(
        update={
            "beneficiaries": (person("ann"), person("eve")),
            "targets": (first, first.model_copy(update={"id": OTHER_TARGET, "account_id": S})),
            "grants": grants,
        }
    )
    return example(cls).model_copy(update={"ticket": changed, "target_ids": (), "grant_ids": ()} | named)


@pytest.mark.parametrize(
    ("named", "accounts", "holders", "grants"),
    [
        ({}, (P, S), ("ann", "eve"), {GRANT_ID, OTHER_GRANT, EVES_GRANT}),
        ({"target_ids": (OTHER_TARGET,)}, (S,), ("ann",), {OTHER_GRANT}),
        ({"target_ids": (TARGET_ID,)}, (P,), ("ann", "eve"), {GRANT_ID, EVES_GRANT}),
        ({"grant_ids": (OTHER_GRANT,)}, (S,), ("ann",), {OTHER_GRANT}),
        ({"grant_ids": (EVES_GRANT,)}, (P,), ("eve",), {EVES_GRANT}),
        (
            {"target_ids": (OTHER_TARGET,), "grant_ids": (EVES_GRANT,)},
            (P, S),
            ("ann", "eve"),
            {OTHER_GRANT, EVES_GRANT},
        ),
        ({"grant_ids": ("of another ticket",)}, (), (), set()),
    ],
    ids=["all", "a target", "a shared target", "a grant", "one of two grants", "both", "unknown"],
)
def test_ticket_fact_is_about_what_it_names(
    named: dict[str, Any], accounts: tuple[str, ...], holders: tuple[str, ...], grants: set[str]
) -> None:
    fact = wide(**named)
    assert {target.account_id for target in fact.targets} == set(accounts)
    assert {grant.id for grant in fact.grants} == grants
    assert tuple(one.user_name for one in fact.part.holders) == holders
    assert fact.about == About(TICKET_ID, accounts, (ANN, EVE))


NO_TICKET = (
    configuration.ConfigurationFact,
    configuration.AuditRead,
    configuration.OperationRequested,
    configuration.InventoryConfirmed,
    configuration.GrantsPaused,
    configuration.GrantsResumed,
    configuration.RevocationOrdered,
    identity.IdentityFact,
)


@pytest.mark.parametrize("cls", contract_events(), ids=lambda cls: cls.TYPE)
def test_every_fact_of_a_ticket_is_found_under_it_and_no_other_is(cls: type[Event]) -> None:
    expected = None if issubclass(cls, NO_TICKET) else TICKET_ID
    assert example(cls).about.ticket_id == expected


def test_access_fact_is_about_its_account_and_user() -> None:
    assert example(access.AccessGranted).about == About(TICKET_ID, (P,), (ANN,))


@pytest.mark.parametrize(("account_id", "accounts"), [(P, (P,)), ("", ())])
def test_review_fact_is_about_its_account_where_it_names_one(
    account_id: str, accounts: tuple[str, ...]
) -> None:
    fact = example(approval.ReviewDecided).model_copy(update={"account_id": account_id})
    assert fact.about == About(TICKET_ID, accounts)


def test_mail_makes_nobody_a_party() -> None:
    about = example(notification.NotificationSent).about
    assert about == About(TICKET_ID, addressee_ids=(user_id("carl"), user_id("cora")))


def test_identity_fact_is_about_the_person_alone() -> None:
    assert example(identity.IdentityRebound).about == About(party_ids=(ANN,))


def test_denial_is_about_the_ticket_unless_its_subject_is_the_caller() -> None:
    denied = example(configuration.AuthzDenied)
    assert denied.about == About(TICKET_ID)
    root = somebody("root")
    about_nothing = denied.model_copy(update={"actor": root, "subject": root.user_id})
    assert about_nothing.about == About()


@pytest.mark.parametrize(
    ("named", "about"),
    [
        ({"ticket_id": TICKET_ID}, About(TICKET_ID)),
        ({"user_id": ANN}, About(party_ids=(ANN,))),
        ({"account_id": P}, About(account_ids=(P,))),
    ],
)
def test_revocation_is_about_what_was_named(named: dict[str, str], about: About) -> None:
    nothing = dict.fromkeys(("ticket_id", "user_id", "account_id"))
    assert example(configuration.RevocationOrdered).model_copy(update=nothing | named).about == about


@pytest.mark.parametrize(
    ("before", "after", "accounts"),
    [
        (f"acct:{P}", f"acct:{S}", (P, S)),
        (f"acct:{P}", f"acct:{P}", (P,)),
        ("ou:ou-prod", "*", ()),
        (None, f"acct:{S}", (S,)),
        (f"acct:{P}", None, (P,)),
    ],
)
def test_change_of_a_document_is_about_accounts_named_before_or_after(
    before: str | None, after: str | None, accounts: tuple[str, ...]
) -> None:
    bodies = {
        "before": None if before is None else {"accounts": before},
        "after": None if after is None else {"accounts": after},
    }
    assert example(RULE_FACTS.changed).model_copy(update=bodies).about == About(account_ids=accounts)


def test_registration_is_about_the_account_that_is_registered() -> None:
    assert example(ACCOUNT_FACTS.registered).about == About(account_ids=(P,))
    assert example(SET_FACTS.registered).about == About()
