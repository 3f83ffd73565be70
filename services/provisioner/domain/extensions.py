"""What becomes of extensions that were approved: the end moves, it stays with a code, or they are waited for.

Pure. Nothing is revived: only a claim that is witnessed and has not ended can be given a later end. The
re-check is the one of a grant, made for the claim as it would be.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from services.provisioner.domain import lifecycle
from services.provisioner.domain.alarms import extension_alarm
from services.provisioner.domain.assignments import Assignment, move
from services.provisioner.domain.claims import ASKED, Claim, ClaimExtension, ClaimExtensionState, ClaimState
from services.provisioner.domain.rechecks import Known, NotYet, RecheckRefused, Verdict, recheck
from shared.contracts.access import AccessExtensionFailed
from shared.contracts.change import Change, Origin

UNCONFIRMED = "the approval service has not confirmed that the extension was approved"
NO_CLAIM = "the approval of the access that it extends has not come"


@dataclass(frozen=True, slots=True)
class Waiting:
    """What one judgement is made with."""

    origin: Origin
    known: Mapping[tuple[str, str], Known]
    """By extension (subject, grant): what the re-check of the extended claim goes by."""
    overdue: datetime
    """What was received by then waits no longer for others' words."""


def judge(assignment: Assignment, waiting: Waiting) -> Change[Assignment]:
    """All extensions that wait for claims of this assignment, the nearest end first."""
    change: Change[Assignment] = Change(assignment)
    for claim in assignment.claims:
        for extension in claim.waiting:
            current = change.state.claim(claim.id) or claim
            change = change.then(move(change.state, [_judge_one(current, extension, waiting)]))
    return change


def fail_without_claim(extension: ClaimExtension, origin: Origin) -> Change[ClaimExtension]:
    """The approval that it extends never came: there is nothing that could end later."""
    after = replace(
        extension, state=ClaimExtensionState.FAILED, code="no_claim", detail=NO_CLAIM, decided_at=origin.at
    )
    fact = AccessExtensionFailed(
        **(origin.because(NO_CLAIM).fields() | {"cause": extension.cause}),
        subject=extension.ticket_id,
        ticket_id=extension.ticket_id,
        grant_id=extension.grant_id,
        target_id=extension.target_id,
        instance=extension.instance,
        user_id=extension.user_id,
        account_id=extension.account_id,
        set_id=extension.set_id,
        ends_at=extension.ended_before,
        subject_id=extension.subject_id,
        code="no_claim",
        detail=NO_CLAIM,
    )
    alert = extension_alarm(fact)
    return Change(after, (fact,), (alert,) if alert else ())


def _judge_one(claim: Claim, extension: ClaimExtension, waiting: Waiting) -> Change[Claim]:
    verdict = _verdict(claim, extension, waiting)
    if isinstance(verdict, RecheckRefused):
        return lifecycle.fail_extension(
            claim, extension, waiting.origin, code=verdict.code, detail=verdict.detail
        )
    if isinstance(verdict, NotYet):
        return Change(claim)
    return lifecycle.extend(claim, extension, waiting.origin)


def _verdict(claim: Claim, extension: ClaimExtension, waiting: Waiting) -> Verdict:
    if refusal := _unfit(claim, extension, waiting.origin.at):
        return refusal
    known = waiting.known[extension.subject_id, extension.grant_id]
    if known.witness is None:
        overdue = extension.received_at <= waiting.overdue
        return RecheckRefused("no_witness", UNCONFIRMED) if overdue else NotYet(UNCONFIRMED)
    if not _is_vouched_for(claim):
        return NotYet("the approval of the access itself is still to be judged")
    return recheck(claim.extended_by(extension), known, None)


def _unfit(claim: Claim, extension: ClaimExtension, now: datetime) -> RecheckRefused | None:
    """What no policy and no witness would change."""
    if not claim.is_open:
        return RecheckRefused(*lifecycle.why_over(claim))
    if now >= claim.ends_at:
        return RecheckRefused("too_late", lifecycle.TOO_LATE)
    if extension.revision != claim.revision:
        return RecheckRefused(
            "revision_mismatch",
            f"it extends revision {extension.revision}; what is given is revision {claim.revision}",
        )
    if extension.ends_at <= claim.ends_at:
        return RecheckRefused("not_longer", "the access ends no earlier than that already")
    return None


def _is_vouched_for(claim: Claim) -> bool:
    """Whether its own approval was found to hold. What AWS was asked for has passed its re-check."""
    return claim.state in ASKED or (claim.state is ClaimState.SCHEDULED and claim.approval_holds)
