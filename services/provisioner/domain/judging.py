"""What becomes of claims once the approval service's word has come: scheduled, refused, or still waiting.

Pure. Votes that cannot be judged yet, since the policy is not ready here, are judged before the grant.
"""

from collections.abc import Sequence
from dataclasses import replace

from services.provisioner.domain import lifecycle
from services.provisioner.domain.assignments import Assignment, move
from services.provisioner.domain.claims import Claim, ClaimState
from services.provisioner.domain.rechecks import (
    NotYet,
    Passed,
    RecheckRefused,
    Witness,
    approval_verdict,
    content_of,
    witness_verdict,
)
from shared.contracts.change import Change, Origin
from shared.policy.snapshot import Snapshot


def judge(
    assignment: Assignment,
    siblings: Sequence[Claim],
    witness: Witness | None,
    snapshot: Snapshot | None,
    *,
    origin: Origin,
) -> Change[Assignment]:
    """`siblings` are all claims of one approval subject, `witness` is approval's word about it."""
    ids = {sibling.id for sibling in siblings}
    steps = [
        _judge_one(claim, siblings, witness, snapshot, origin=origin)
        for claim in assignment.in_state(ClaimState.WAITING)
        if claim.id in ids
    ]
    change = move(assignment, steps)
    starts = [step.state.starts_at for step in steps if step.state.state is ClaimState.SCHEDULED]
    return replace(change, state=change.state.due(min(starts))) if starts else change


def _judge_one(
    claim: Claim,
    siblings: Sequence[Claim],
    witness: Witness | None,
    snapshot: Snapshot | None,
    *,
    origin: Origin,
) -> Change[Claim]:
    same = witness_verdict(
        witness=witness.content_hash if witness else None,
        asked=claim.content_hash,
        content=content_of(claim, [(sibling.id, sibling.user_id) for sibling in siblings]),
    )
    if isinstance(same, NotYet):
        return Change(claim)
    parties = [sibling.user_id for sibling in siblings]
    holds = approval_verdict(claim, witness, snapshot, parties=parties, now=origin.at)
    for verdict in (same, holds):
        if isinstance(verdict, RecheckRefused):
            return lifecycle.refuse(claim, origin, code=verdict.code, detail=verdict.detail)
    return lifecycle.schedule(claim, origin, approval_holds=isinstance(holds, Passed))
