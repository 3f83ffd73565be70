"""Which facts of a claim somebody who operates JIT has to know at once. Pure.

A grant that failed is an operator's business, one that was stopped in time is not. Alerts may use AWS's own
words (`last_error`); people only get our sentence for them.
"""

from typing import Final

from services.provisioner.domain.claims import Claim
from shared.contracts.access import (
    AccessExtensionFailed,
    AccessFact,
    AccessFailed,
    AccessRevokeDue,
    EndCause,
)
from shared.contracts.change import Alert

_UNHEARD: Final = "nothing was heard of AWS: no slot, no turn at its limits, or no active engine"
_BY_APPROVAL: Final = {
    "no_witness": "an approval without its witness was not granted",
    "witness_mismatch": "a grant was asked for that the approval service did not approve",
    "witness_invalid": "a grant was asked for whose approval does not hold",
}
"""Somebody, or something broken, asked for what nobody approved."""
_EXTENSION: Final = {
    "no_claim": "an extension was approved of access that is not known here",
    "no_witness": "an extension without its witness was not carried out",
    "witness_mismatch": "an extension was asked for that the approval service did not approve",
    "witness_invalid": "an extension was asked for whose approval does not hold",
}


def alarm(claim: Claim, fact: AccessFact, last_error: str) -> Alert | None:
    """`claim` is as after the fact, `last_error` what its assignment last met."""
    if isinstance(fact, AccessRevokeDue):
        return _at_the_end(claim, fact, last_error)
    if isinstance(fact, AccessFailed):
        return _at_the_failure(claim, fact)
    return extension_alarm(fact) if isinstance(fact, AccessExtensionFailed) else None


def extension_alarm(fact: AccessExtensionFailed) -> Alert | None:
    """Extensions that come too late, or are not permitted any more, are nobody's alarm."""
    if fact.code not in _EXTENSION:
        return None
    return Alert(
        key=f"{fact.code}/{fact.subject_id}",
        summary=_EXTENSION[fact.code],
        detail=f"ticket {fact.ticket_id}, grant {fact.grant_id}, user {fact.user_id}: {fact.detail}; "
        f"the access ends as before, {fact.ends_at:%Y-%m-%d %H:%M:%SZ}",
    )


def _at_the_end(claim: Claim, fact: AccessRevokeDue, last_error: str) -> Alert | None:
    if fact.cause_of_end == EndCause.FAILED:
        return _grant_failed(claim, f"a grant failed: {claim.code}", last_error or claim.detail)
    if fact.cause_of_end == EndCause.EXPIRED and claim.granted_at is None:
        return _grant_failed(claim, "a window ended before its grant was made", last_error or _UNHEARD)
    return None


def _at_the_failure(claim: Claim, fact: AccessFailed) -> Alert | None:
    if fact.code in _BY_APPROVAL:
        return Alert(
            key=f"{fact.code}/{claim.target_id}",
            summary=_BY_APPROVAL[fact.code],
            detail=f"ticket {claim.ticket_id}, target {claim.target_id}, user {claim.user_id}: {fact.detail}",
        )
    # What ended, and what AWS refused, raised its alert at the end.
    if claim.end_cause is not None:
        return None
    return _grant_failed(claim, f"a grant failed: {fact.code}", fact.detail)


def _grant_failed(claim: Claim, summary: str, reason: str) -> Alert:
    return Alert(
        key=f"grant_failed/{claim.id}",
        summary=summary,
        detail=f"ticket {claim.ticket_id}, user {claim.user_id}, account {claim.account_id}, "
        f"set {claim.set_id}: {reason}",
    )
