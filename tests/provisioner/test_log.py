"""What a grant leaves in the log: a line per change of its state, once it is committed and not before."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.contracts import access
from tests.support.provisioner_lab import Lab


def lines(logs: list[Any], grant: str) -> list[str]:
    return [line["event"] for line in logs if line.get("grant") == grant]


async def test_whole_grant_leaves_a_line_for_each_of_its_states(lab: Lab) -> None:
    with capture_logs() as logs:
        ticket = await lab.approve(lab.ticket(seconds=60))
        await lab.run_until(access.AccessRevoked)
    [grant] = ticket.grants
    assert lines(logs, grant.id) == [
        "grant scheduled",
        "grant granting",
        "grant granted",
        "grant revoke due",
        "grant revoked",
    ]
    last = next(line for line in logs if line["event"] == "grant revoked")
    assert (last["service"], last["ticket"], last["account"], last["user"], last["code"]) == (
        "provisioner",
        ticket.id,
        lab.account(),
        lab.user(),
        "expired",
    )


async def test_refused_grant_leaves_its_code(lab: Lab) -> None:
    with capture_logs() as logs:
        ticket = lab.ticket(seconds=600)
        await lab.take(lab.witness(ticket, votes=()), lab.approval(ticket))
    [line] = [line for line in logs if line.get("grant") == ticket.grants[0].id]
    assert (line["event"], line["code"]) == ("grant failed", "witness_invalid")


async def test_what_is_rolled_back_leaves_no_line_and_no_nudge(lab: Lab) -> None:
    ticket = lab.ticket(seconds=600)
    await lab.take(lab.witness(ticket))
    nudges = lab.nudges
    with capture_logs() as logs, pytest.raises(RuntimeError, match="broken"):
        await lab.take_and_break(lab.approval(ticket))
    assert lines(logs, ticket.grants[0].id) == []
    assert lab.nudges == nudges
    assert await lab.story() == []
