"""Registered accounts: which accounts of the organisation access may be asked for on."""

from collections.abc import Collection
from typing import Annotated, Protocol, cast

from pydantic import Field

from shared.configuration.kind import Kind, Situation
from shared.configuration.order import NEITHER, Direction, presence, smaller
from shared.contracts.documents import Account, RegisteredAccount
from shared.foundation.errors import FieldError
from shared.foundation.shapes import ACCOUNT_ID, Body, Shown
from shared.policy.snapshot import Snapshot
from shared.text.texts import Line

GONE = "GONE"
"""The state of an account that is registered and that AWS does not have any more."""


class GuardRails(Protocol):
    """The settings that say which accounts nobody registers by the way."""

    protected_accounts: Collection[str]
    allow_protected_accounts: Collection[str]


class AccountBody(Body):
    """An account's registration."""

    labels: dict[Annotated[Line, Field(max_length=100)], Line] = Field(
        default={},
        max_length=20,
        description="what people should see beside the account",
        examples=[{"owner": "payments"}],
    )


class AccountShown(Shown):
    """An account as AWS has it, and its registration with JIT."""

    id: str
    name: str = Field(description="empty where AWS does not have it any more")
    state: str = Field(description=f"AWS's own word, such as ACTIVE; {GONE} where AWS has it no more")
    tags: dict[str, str]
    ous: list[str] = Field(description="ids from the root down to the direct parent")
    management: bool
    delegated_administrator: bool
    registered: bool
    labels: dict[str, str]
    protected_override: bool = Field(description="registered although it is a protected account")
    revision: int | None = Field(description="of the registration; null where it is not registered")


def _make(account_id: str, body: AccountBody, situation: Situation) -> RegisteredAccount:
    account = situation.snapshot.get(Account, account_id)
    listed = cast("GuardRails", situation.settings).protected_accounts
    protected = account is not None and account.why_protected(listed) is not None
    return RegisteredAccount(id=account_id, labels=body.labels, protected_override=protected)


def _problems(document: RegisteredAccount, situation: Situation) -> list[FieldError]:
    rails = cast("GuardRails", situation.settings)
    account = situation.snapshot.get(Account, document.id)
    if account is None:
        sentence = f"AWS Organizations has no account {document.id}, as far as the inventory knows"
        return [FieldError("account_id", "account_unknown", sentence)]
    why = account.why_protected(rails.protected_accounts)
    if why is None or document.id in rails.allow_protected_accounts:
        return []
    sentence = f"account {document.id} is {why}; to register it, add it to JIT_ALLOW_PROTECTED_ACCOUNTS"
    return [FieldError("account_id", "account_protected", sentence)]


def _order(before: RegisteredAccount | None, after: RegisteredAccount | None) -> Direction:
    there = presence(before, after)
    if before is None or after is None:
        return there or NEITHER
    return smaller(before.protected_override, after.protected_override)


def _show(account_id: str, found: RegisteredAccount | None, snapshot: Snapshot) -> AccountShown | None:
    account = snapshot.get(Account, account_id)
    if account is None and found is None:
        return None
    known = account or Account(id=account_id, name="", state=GONE)
    return AccountShown(
        id=account_id,
        name=known.name,
        state=known.state,
        tags=known.tags,
        ous=list(known.ous),
        management=known.management,
        delegated_administrator=known.delegated_administrator,
        registered=found is not None,
        labels=found.labels if found else {},
        protected_override=found is not None and found.protected_override,
        revision=found.revision if found else None,
    )


ACCOUNT = Kind(
    document=RegisteredAccount,
    path="accounts",
    phrase="an account",
    body=AccountBody,
    shown=AccountShown,
    make=_make,
    problems=_problems,
    order=_order,
    show=_show,
    everybody_reads=True,
    inventory=lambda snapshot: (account.id for account in snapshot.all(Account)),
    id_pattern=ACCOUNT_ID,
    known_id_pattern=ACCOUNT_ID,
    examples=(
        RegisteredAccount(id="111111111111", revision=11),
        RegisteredAccount(id="111111111111", revision=12, labels={"owner": "payments"}),
    ),
)
