"""Services with a fault put in on purpose, to show that the judge of bench/day.py fails on it.

`python -m bench.sabotage FAULT serve SERVICE` runs one service like `jit serve`, with one thing broken.
Nothing imports this.
"""

import itertools
import sys
from dataclasses import replace
from typing import Any

from cli.main import main
from services.provisioner.domain import assignments, operations
from services.provisioner.domain.assignments import Observed
from services.provisioner.domain.claims import ClaimState
from services.provisioner.reconcile import visit
from services.provisioner.reconcile.visit import Seen
from shared.messaging.relay import Relay
from shared.policy.world import World

EVERY = 7


def lose_events() -> None:
    """Every so many facts are marked as sent without being sent."""
    original = Relay._send_batch  # noqa: SLF001
    count = itertools.count(1)

    async def losing(self: Any, conn: Any, *more: Any) -> int:
        rows = await conn.fetch(
            "SELECT id FROM outbox WHERE sent_at IS NULL AND type NOT LIKE 'document.%' ORDER BY id"
        )
        lost = [row["id"] for row in rows if next(count) % EVERY == 0]
        await conn.execute("UPDATE outbox SET sent_at = now() WHERE id = ANY($1::bigint[])", lost)
        return await original(self, conn, *more)

    Relay._send_batch = losing  # type: ignore[method-assign]  # noqa: SLF001


def skip_read_back() -> None:
    """An accepted call is taken for done, as rivals do, and AWS is not read again after the first look."""
    original = visit._look  # noqa: SLF001

    async def believing(tools: Any, row: Any, *, beginning: bool) -> Seen:
        if beginning or row.observed is Observed.UNKNOWN:
            return await original(tools, row, beginning=beginning)
        return Seen(row.observed in {Observed.CREATED, Observed.PRESENT}, None)

    def accepted(row: Any, request_id: str, stamp: Any, _limits: Any) -> Any:
        return replace(operations.succeeded(row, stamp), request_id=request_id)

    visit._look = believing  # noqa: SLF001
    operations.accepted = accepted


def forge_approvals() -> None:
    """On some accounts reviews are approved without a vote, as if a rule had said so."""
    original = World.rules_for

    def generous(self: World, account_id: str, set_id: str, duration: Any) -> Any:
        choice = original(self, account_id, set_id, duration)
        if choice.stages and int(account_id) % EVERY == 0:
            return replace(choice, stages=(), auto_approved_by=choice.stages[0].rule_id)
        return choice

    World.rules_for = generous  # type: ignore[method-assign]


def forget_other_claims() -> None:
    """When a claim ends its assignment goes, whoever else has a claim on it: the rivals' oldest defect."""
    decide, needs_reading = assignments.decide, assignments.needs_reading

    def without_others(claims: Any) -> Any:
        return [claim for claim in claims if claim.state is ClaimState.REVOKING] or claims

    def decide_alone(row: Any, claims: Any, **more: Any) -> Any:
        return decide(row, without_others(claims), **more)

    def needs_reading_alone(row: Any, claims: Any, now: Any) -> bool:
        return needs_reading(row, without_others(claims), now)

    assignments.decide = decide_alone
    assignments.needs_reading = needs_reading_alone


FAULTS = {
    "lost-event": lose_events,
    "skipped-read-back": skip_read_back,
    "forged-approval": forge_approvals,
    "claim-count": forget_other_claims,
}


if __name__ == "__main__":
    FAULTS[sys.argv[1]]()
    del sys.argv[1]
    main()
