"""The re-check at the moment of granting, whether everything that was approved still holds.

Pure. Asked twice by reconcile/: before the first AWS call with what this replica knows, and again with
what AWS itself says about the person and the account, in the transaction that commits to the call.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.provisioner.domain.claims import Claim
from shared.contracts.approval import Vote
from shared.contracts.documents import Account, PermissionSet, RegisteredAccount, RegisteredSet, User
from shared.contracts.event import Revisions
from shared.contracts.subject import content_hash
from shared.contracts.windows import Window
from shared.policy.approvals import approval_problem
from shared.policy.row import Answer
from shared.policy.snapshot import Snapshot

_NOT_HEARD: Final = "the approval service's word has not come yet"
_NOT_READY: Final = "policy not ready"


@dataclass(frozen=True, slots=True)
class Passed:
    pass


@dataclass(frozen=True, slots=True)
class RecheckRefused:
    """Final: the claim fails with this code and AWS is never asked."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class NotYet:
    """Nobody can tell at the moment; waited out."""

    why: str


Verdict = Passed | RecheckRefused | NotYet


@dataclass(frozen=True, slots=True)
class Witness:
    """Approval's own word about a subject: what was approved, and by whose votes on which documents."""

    content_hash: str
    votes: tuple[Vote, ...]
    auto_approved_by: str | None
    revisions: Revisions
    approved_at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """What this replica knows. Without `ready` the rest may be missing for no other reason."""

    instance: str
    ready: bool
    account: Account | None
    registered_account: RegisteredAccount | None
    permission_set: PermissionSet | None
    registered_set: RegisteredSet | None
    user: User | None
    may_request: Answer
    witness: str | None
    """The content hash approval vouched for."""
    content: str
    """The same hash over what is about to be done; see `content_of`."""
    approval: Verdict
    """Whether the votes are enough; see `approval_verdict`."""
    paused: str | None = None
    """Since when and by whom grants are paused; None while they are not."""
    clock_problem: str | None = None
    """Why no window can be trusted: the database's clock is not AWS's."""

    @property
    def held(self) -> bool:
        """Whether nothing may begin at the moment, whatever was approved."""
        return self.paused is not None or self.clock_problem is not None


@dataclass(frozen=True, slots=True)
class Live:
    """What AWS itself said a moment ago; None where it knows no such user, account or set."""

    user_enabled: bool | None
    account_state: str | None
    set_digest: str | None


def content_of(claim: Claim, grants: Iterable[tuple[str, str]]) -> str:
    """The content hash over what is stored; `grants` are the (id, user) of all claims of its subject."""
    kind, subject_id = claim.vouched_by
    return content_hash(
        kind=kind,
        subject_id=subject_id,
        instance=claim.instance,
        ticket_id=claim.ticket_id,
        target_id=claim.target_id,
        revision=claim.revision,
        grants=grants,
        account_id=claim.account_id,
        set_id=claim.set_id,
        set_digest=claim.set_digest,
        window=Window(starts_at=claim.starts_at, ends_at=claim.ends_at),
    )


def recheck(claim: Claim, known: Known, live: Live | None) -> Verdict:
    """`live` is None before AWS was asked."""
    if refusal := _witness(claim, known):
        return refusal
    if not known.ready:
        return NotYet(_NOT_READY)
    if known.clock_problem is not None:
        return NotYet(known.clock_problem)
    if not isinstance(known.approval, Passed):
        return known.approval
    refused = _account(claim, known, live) or _set(claim, known, live) or _person(claim, known, live)
    return refused or (NotYet(known.paused) if known.paused is not None else Passed())


def witness_verdict(*, witness: str | None, asked: str, content: str) -> Verdict:
    """Approval's own word, ticket's word and what is to be done must be the same."""
    if witness is None:
        return NotYet(_NOT_HEARD)
    if len({witness, asked, content}) != 1:
        return RecheckRefused(
            "witness_mismatch", "what ticket asks for is not what the approval service says was approved"
        )
    return Passed()


def approval_verdict(
    claim: Claim, witness: Witness | None, snapshot: Snapshot | None, *, parties: Iterable[str], now: datetime
) -> Verdict:
    """Whether the votes are enough by this service's own copy of rules and directory.

    The approval service's word alone opens nothing. `parties` may not vote; the claim's own are added.
    Documents older than those it was decided on are waited for, but not for ever: a forged word may name any.
    """
    if claim.approval_holds:
        return Passed()
    if witness is None:
        return NotYet(_NOT_HEARD)
    if snapshot is None:
        return NotYet(_NOT_READY)
    if not snapshot.is_as_new_as(witness.revisions, decided_at=witness.approved_at, now=now):
        return NotYet("policy and inventory are older here than where it was approved")
    why = approval_problem(
        snapshot,
        votes=witness.votes,
        auto_approved_by=witness.auto_approved_by,
        parties={*parties, *claim.parties},
        account_id=claim.account_id,
        set_id=claim.set_id,
        # Never shorter than what is given: a shorter length may be another, easier rule's.
        duration=max(claim.duration_asked, claim.ends_at - claim.starts_at),
        now=now,
    )
    return (
        Passed() if why is None else RecheckRefused("witness_invalid", f"its approval does not hold: {why}")
    )


def _witness(claim: Claim, known: Known) -> RecheckRefused | None:
    if claim.instance != known.instance:
        return RecheckRefused(
            "instance_unknown", f"it is for the instance {claim.instance}, not {known.instance}"
        )
    if known.witness is None:
        return RecheckRefused("no_witness", "the approval service's own word is missing")
    verdict = witness_verdict(witness=known.witness, asked=claim.content_hash, content=known.content)
    return verdict if isinstance(verdict, RecheckRefused) else None


def _account(claim: Claim, known: Known, live: Live | None) -> RecheckRefused | None:
    if known.account is None or (live is not None and live.account_state is None):
        return RecheckRefused("account_unknown", f"account {claim.account_id} is not in the organisation")
    states = {known.account.state, live.account_state if live else None} - {None, "ACTIVE"}
    if states:
        return RecheckRefused("account_not_active", f"account {claim.account_id} is {states.pop()}")
    if known.registered_account is None:
        return RecheckRefused("account_not_registered", f"account {claim.account_id} is no longer registered")
    special = known.account.management or known.account.delegated_administrator
    if special and not known.registered_account.protected_override:
        return RecheckRefused(
            "account_protected",
            f"account {claim.account_id} is the management or a delegated administrator's account by now, "
            "and was registered as neither",
        )
    return None


def _set(claim: Claim, known: Known, live: Live | None) -> RecheckRefused | None:
    if known.permission_set is None or (live is not None and live.set_digest is None):
        return RecheckRefused("set_unknown", f"permission set {claim.set_id} does not exist any more")
    if known.registered_set is None:
        return RecheckRefused("set_not_registered", f"permission set {claim.set_id} is no longer registered")
    if {known.permission_set.digest, live.set_digest if live else claim.set_digest} != {claim.set_digest}:
        return RecheckRefused(
            "set_changed", "the permission set allows something else than when it was approved"
        )
    if known.permission_set.has_long_sessions and not known.registered_set.long_session_acknowledged:
        return RecheckRefused(
            "session_too_long",
            f"sessions of permission set {claim.set_id} outlive the end of access by more than an hour, "
            "which nobody has accepted",
        )
    return None


def _person(claim: Claim, known: Known, live: Live | None) -> RecheckRefused | None:
    if known.user is None or (live is not None and live.user_enabled is None):
        return RecheckRefused("user_unknown", f"user {claim.user_id} is not in the Identity Store any more")
    if not known.user.enabled or (live is not None and not live.user_enabled):
        return RecheckRefused("user_disabled", f"user {claim.user_id} is disabled")
    if not known.may_request.allowed:
        rules = f" ({', '.join(known.may_request.rules)})" if known.may_request.rules else ""
        return RecheckRefused("not_permitted", f"the policy does not allow it any more{rules}")
    return None
