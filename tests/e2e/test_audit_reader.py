"""What leaves for SIEMs, read by the script that strangers begin with, and by an auditor over HTTP."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.support.ocsf import problems, schema_folder
from tests.support.running import Running

pytestmark = pytest.mark.e2e

SCRIPT = Path(__file__).parents[2] / "docs" / "consumer.py"


async def test_stranger_reads_every_event_of_a_ticket_and_all_are_valid(running: Running) -> None:
    account = running.spare_account("sandbox")
    ticket = await running.granted("ann", (account, "Developer"), duration="PT1H")
    await running.person("ann").post(f"/v1/tickets/{ticket['id']}/return")
    await running.until_state(ticket["id"], "ended")
    await running.until_recorded(ticket["id"], "access.revoked")
    schemas = schema_folder()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), "--bootstrap", running.stack.bootstrap, "--schemas", str(schemas),
        "--timeout", "3",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    read = [line for line in out.decode().splitlines() if ticket["id"] in line]
    recorded = await running.trail(ticket["id"])
    for code in ("ticket.submitted", "access.granted", "access.revoked"):
        assert sum(f" {code} " in line for line in read) == 1, code
    assert len(read) >= len([one for one in recorded if one["metadata"]["event_code"] != "audit.read"])


async def test_auditor_exports_a_log_without_gaps_that_says_each_fact_once(running: Running) -> None:
    account = running.spare_account("sandbox")
    await running.granted("ann", (account, "Developer"), duration="PT1H")
    aud = running.person("aud")
    answer = await aud.call("GET", "/v1/audit/export")
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert len(events) == int(answer.headers["Jit-Count"])
    assert [one["metadata"]["sequence"] for one in events] == list(range(1, len(events) + 1))
    assert len({one["metadata"]["uid"] for one in events}) == len(events)
    schema_folder()
    assert not [found for event in events if (found := problems(event))]


async def test_trail_of_a_ticket_is_for_auditors_and_its_parties(running: Running) -> None:
    account = running.spare_account("sandbox")
    ticket = await running.granted("ann", (account, "Developer"), duration="PT1H")
    await running.until_recorded(ticket["id"], "access.granted")
    path = f"/v1/audit/tickets/{ticket['id']}"
    for who, status in [("ann", 200), ("aud", 200), ("eve", 404), ("bob", 404)]:
        assert (await running.person(who).call("GET", path)).status_code == status, who
    for who in ("ann", "bob"):
        assert (await running.person(who).call("GET", "/v1/audit/events")).status_code == 403
