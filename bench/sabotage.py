"""Services with a fault put in on purpose, to show that the judge of bench/day.py fails on it.

`python -m bench.sabotage FAULT serve SERVICE` runs one service like `jit serve`, with one thing broken.
Nothing imports this.
"""

import itertools
import sys
from dataclasses import replace
from typing import Any

from cli.main import main
from model.sabotage import drop_read_back
from services.provisioner.domain import decisions
from services.provisioner.domain.claims import ClaimState
from shared.messaging.batch import Batches
from shared.messaging.relay import Relay
from shared.messaging.signing import Trust
from shared.policy.snapshot import Snapshot

EVERY = 7


def lose_events() -> None:
    """Every so many facts are marked as sent without being sent."""
    original = Relay._mark_and_read  # noqa: SLF001
    count = itertools.count(1)

    async def losing(self: Any, conn: Any, sent: list[int]) -> Any:
        rows = await original(self, conn, sent)
        facts = [row for row in rows if 'ce_type": "document.' not in row["headers"]]
        lost = [row["id"] for row in facts if next(count) % EVERY == 0]
        await conn.execute("UPDATE outbox SET sent_at = now() WHERE id = ANY($1::bigint[])", lost)
        return [row for row in rows if row["id"] not in lost]

    Relay._mark_and_read = losing  # type: ignore[method-assign]  # noqa: SLF001


def forge_approvals() -> None:
    """On some accounts reviews are approved without a vote, as if a rule had said so."""
    original = Snapshot.rules_for

    def generous(self: Snapshot, account_id: str, set_id: str, duration: Any) -> Any:
        choice = original(self, account_id, set_id, duration)
        if choice.stages and int(account_id) % EVERY == 0:
            return replace(choice, stages=(), auto_approved_by=choice.stages[0].rule_id)
        return choice

    Snapshot.rules_for = generous  # type: ignore[method-assign]


def forget_other_claims() -> None:
    """When a claim ends its assignment goes, whoever else has a claim on it: the rivals' oldest defect."""
    decide, needs_reading = decisions.decide, decisions.needs_reading

    def alone(assignment: Any) -> Any:
        ending = assignment.in_state(ClaimState.REVOKING)
        return replace(assignment, claims=ending) if ending else assignment

    def with_the_others(assignment: Any, after: Any) -> Any:
        ids = {claim.id for claim in after.claims}
        others = [claim for claim in assignment.claims if claim.id not in ids]
        return replace(after, claims=(*after.claims, *others))

    def decide_alone(assignment: Any, reading: Any, step: Any) -> Any:
        change = decide(alone(assignment), reading, step)
        return replace(change, state=with_the_others(assignment, change.state))

    def needs_reading_alone(assignment: Any, now: Any) -> bool:
        return needs_reading(alone(assignment), now)

    decisions.decide = decide_alone
    decisions.needs_reading = needs_reading_alone


def believe_anybody() -> None:
    """Whoever writes to a topic speaks for its owner, as where there are no signatures."""

    def nothing(_self: Any, _record: Any, *, owner: str) -> None:
        del owner

    Trust.check = nothing  # type: ignore[method-assign,assignment]


def wait_for_poison() -> None:
    """What cannot be read is tried again in place for ever, as if that could help."""

    async def failing(_self: Any, _work: Any, reading: Any) -> None:
        raise RuntimeError(reading.error)

    Batches._park = Batches._set_aside = failing  # type: ignore[method-assign,assignment]  # noqa: SLF001


FAULTS = {
    "lost-event": lose_events,
    "skipped-read-back": drop_read_back,
    "forged-approval": forge_approvals,
    "claim-count": forget_other_claims,
    "unproven-believed": believe_anybody,
    "poison-waited-for": wait_for_poison,
}


if __name__ == "__main__":
    FAULTS[sys.argv[1]]()
    del sys.argv[1]
    main()
