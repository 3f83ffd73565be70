"""The README's walk-through, run as it is written against an embedded run of its own, judged from outside."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local.postgres_home import remove_home
from local.processes import free_ports, wait_until
from tests.support.pages import ROOT, walk_through

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

STARTED_WITHIN_S = 90.0
WALKED_WITHIN_S = 150.0
WINDOW = '"duration": "PT1M"'
"""The one thing that is not run as written: nobody reads here, so nobody needs a minute."""
SHORTER = '"duration": "PT10S"'


@dataclass(frozen=True)
class Run:
    """An embedded run, as somebody outside of it sees it."""

    url: str
    simulator: str

    def get(self, path: str) -> Any:
        """What the auditor reads; paths of `_sim` are the simulator's and need nobody."""
        if path.startswith("/_sim/"):
            return httpx2.get(self.simulator + path, timeout=30).json()
        headers = {"Authorization": f"Bearer {self._token()}"}
        return httpx2.get(self.url + path, headers=headers, timeout=30).json()

    def _token(self) -> str:
        answer = httpx2.post(f"{self.url}/issuer/token", data={"user": "aud"}, timeout=30)
        return str(answer.json()["access_token"])


@contextmanager
def embedded_run() -> Iterator[Run]:
    """`python -m local` as a person starts it, on ports and a folder of its own."""
    data = Path(tempfile.mkdtemp(prefix="jit-readme-"))
    data.chmod(0o711)  # for the account that PostgreSQL runs as when we are root
    port, simulator, smtp = free_ports(3)
    command = [sys.executable, "-m", "local", "--data", str(data), "--port", str(port)]
    command += ["--simulator-port", str(simulator), "--smtp-port", str(smtp)]
    said = data / "said"
    with said.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        ready = wait_until(
            lambda: b"JIT is running" in said.read_bytes() or process.poll() is not None,
            seconds=STARTED_WITHIN_S,
        )
        assert ready, f"it did not start in {STARTED_WITHIN_S} s:\n{said.read_text()}"
        assert process.poll() is None, f"it did not start:\n{said.read_text()}"
        yield Run(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{simulator}")
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        remove_home(data)
        shutil.rmtree(data)


def walk(run: Run, commands: list[str]) -> str:
    """Run the blocks in one shell, as somebody who pastes them one after the other."""
    script = "set -eu\n" + "\n".join(commands) + "\necho TICKET_OF_THE_STORY=$STORY\n"
    answer = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "JIT": run.url, "SIM": run.simulator},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WALKED_WITHIN_S,
        check=False,
    )
    assert answer.returncode == 0, f"a command of the README failed:\n{answer.stdout}"
    return answer.stdout


def story() -> list[str]:
    """The commands with a shorter window; the story's ticket is kept, since later blocks ask for more."""
    commands = walk_through()
    assert sum(WINDOW in block for block in commands) == 1, f"the walk-through asks for {WINDOW} once"
    made = next(index for index, block in enumerate(commands) if "TICKET=$(" in block)
    commands[made] += "STORY=$TICKET\n"
    return [block.replace(WINDOW, SHORTER) for block in commands]


def test_walk_through_as_written_ends_and_is_audited() -> None:
    with embedded_run() as run:
        said = walk(run, story())
        ticket_id = said.rpartition("TICKET_OF_THE_STORY=")[2].strip()

        ticket = run.get(f"/v1/tickets/{ticket_id}")
        assert ticket["state"] == "ended"
        assert [(one["state"], one["code"]) for one in ticket["grants"]] == [("revoked", "expired")]

        assert ticket["targets"][0]["account_id"] not in {
            row["account"]
            for row in run.get("/_sim/assignments")["assignments"]
            if row["principal_name"] == "ann"
        }, "an assignment of the walk-through was left at AWS"

        trail = run.get(f"/v1/audit/tickets/{ticket_id}")["items"]
        codes = [record["metadata"]["event_code"] for record in trail]
        assert codes.count("review.decided") == 2
        assert {"ticket.submitted", "access.granted", "access.revoked", "notification.sent"} <= set(codes)
        assert (
            codes.index("access.granted") < codes.index("access.revoke_due") < codes.index("access.revoked")
        )

    for shown in ("asked twice, made once", "Approval needed", "self_approval", "already_acted", "['ann']"):
        assert shown in said, f"the walk-through no longer shows {shown!r}:\n{said}"
    for shown in ("revoking returned", "denied by scope/no-contractors-on-prod", "beneficiary_unknown"):
        assert shown in said, f"the walk-through no longer shows {shown!r}:\n{said}"
