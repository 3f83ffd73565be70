"""What every step of a claim is made of: a move that the table allows, the next version, a fact about it.

Pure.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from services.provisioner.domain.claims import TRANSITIONS, Claim, ClaimState
from shared.contracts import access
from shared.contracts.change import Origin
from shared.foundation.errors import Bug


def moved(claim: Claim, to: ClaimState) -> Claim:
    if to not in TRANSITIONS[claim.state]:
        raise impossible(claim, to)
    return replace(next_version(claim), state=to)


def next_version(claim: Claim) -> Claim:
    return replace(claim, version=claim.version + 1)


def end_of(claim: Claim) -> datetime:
    if claim.ended_at is None:
        raise Bug(
            f"claim {claim.id} is {claim.state} but has no end; this is a bug", code="claim_without_end"
        )
    return claim.ended_at


def impossible(claim: Claim, to: ClaimState) -> Bug:
    return Bug(
        f"claim {claim.id} cannot go from {claim.state} to {to}; this is a bug", code="claim_transition"
    )


def fact_of(cls: type[access.AccessFact], claim: Claim, origin: Origin, **fields: Any) -> access.AccessFact:
    return cls(
        **(origin.fields() | {"cause": origin.cause or claim.cause}),
        subject=claim.ticket_id,
        version=claim.version,
        ticket_id=claim.ticket_id,
        grant_id=claim.id,
        target_id=claim.target_id,
        instance=claim.instance,
        user_id=claim.user_id,
        account_id=claim.account_id,
        set_id=claim.set_id,
        ends_at=claim.ends_at,
        **fields,
    )
