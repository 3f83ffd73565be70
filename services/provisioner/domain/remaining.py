"""What is still there right after an operator ended access, and why. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from services.provisioner.domain.assignments import Assignment
from services.provisioner.domain.claims import ASKED, NOT_OURS, ClaimState


@dataclass(frozen=True, slots=True)
class Remaining:
    """An assignment that AWS has at this moment."""

    user_id: str
    account_id: str
    set_id: str
    why: Literal["kept", "being_revoked"]
    kept_by: tuple[str, ...]
    """Claims that hold it, or `not_ours`."""
    grants: tuple[str, ...]
    """The ended ones that wait for the revoke."""


def remaining(assignment: Assignment, ended: Collection[str]) -> Remaining | None:
    """`ended` are the ids of the claims that were to end."""
    kept_by = tuple(claim.id for claim in assignment.in_state(*ASKED) if claim.id not in ended)
    if assignment.pre_existing:
        kept_by = (*kept_by, NOT_OURS)
    revoking = tuple(claim.id for claim in assignment.in_state(ClaimState.REVOKING) if claim.id in ended)
    if not kept_by and not revoking:
        return None
    return Remaining(
        user_id=assignment.user_id,
        account_id=assignment.account_id,
        set_id=assignment.set_id,
        why="kept" if kept_by else "being_revoked",
        kept_by=kept_by,
        grants=revoking,
    )
