"""`jit grants` and `jit revoke` against a server that notes what it is asked."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.main import app
from services.provisioner.http.grants import Revocation
from services.provisioner.http.pause import Reason
from services.provisioner.http.shapes import PauseBegun, PauseShown, RevocationShown

TOKEN = "made-up-token-canary"
WHY = "approvals came that nobody remembers"
PAUSE = {"since": "2026-03-02T09:00:00Z", "user_id": "user-root", "user_name": "root", "reason": WHY}
NAMED = {
    "user_id": "u", "user_name": "ann", "account_id": "1", "account_name": "orders-prod", "set_id": "ps-1",
    "set_name": "ReadOnly",
}  # fmt: skip
GRANT = NAMED | {
    "id": "grant-1", "ticket_id": "t", "target_id": "t", "state": "revoking", "version": 1,
    "starts_at": "2026-03-02T09:00:00Z", "ends_at": "2026-03-02T10:00:00Z", "granted_at": None,
    "already_held": False, "request_id": None, "ended_at": None, "end_cause": None, "code": None,
    "detail": "", "kept_by": [], "credentials_until": None,
}  # fmt: skip


@dataclass
class Desk:
    """What it was asked, and what it answers."""

    url: str = ""
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    status: int = 200
    answer: Any = None


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            desk.asked.append((self.path, str(self.headers["Authorization"]), body))
            text = json.dumps(desk.answer).encode()
            self.send_response(desk.status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    desk.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield desk
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def jit(*arguments: str, token: str = f"{TOKEN}\n") -> Result:
    with patch.dict("os.environ", {}, clear=True):
        return CliRunner().invoke(app, list(arguments), input=token)


def test_pause_asks_with_the_token_of_stdin_and_names_what_has_begun(desk: Desk) -> None:
    desk.answer = PauseBegun(**PAUSE, begun=["grant-7"]).model_dump(mode="json")
    done = jit("grants", "pause", "--url", desk.url, "--reason", WHY)
    assert (done.exit_code, desk.asked) == (0, [("/v1/grants/pause", f"Bearer {TOKEN}", {"reason": WHY})])
    assert done.stdout.splitlines()[1] == "has begun already: grant-7"
    Reason.model_validate(desk.asked[0][2])


def test_resume_reads_the_token_out_of_a_file(desk: Desk, tmp_path: Path) -> None:
    desk.answer = PauseShown(**PAUSE).model_dump(mode="json")
    (tmp_path / "token").write_text(TOKEN)
    done = jit(
        "grants", "resume", "--url", f"{desk.url}/", "--reason", WHY, "--token-file", str(tmp_path / "token"),
        token="",
    )  # fmt: skip
    assert (done.exit_code, desk.asked) == (0, [("/v1/grants/resume", f"Bearer {TOKEN}", {"reason": WHY})])
    assert f"by root: {WHY}" in done.stdout


@pytest.mark.parametrize(
    ("option", "field"), [("--user", "user_id"), ("--account", "account_id"), ("--ticket", "ticket_id")]
)
def test_revoke_says_how_many_ended_and_which_and_what_is_there(desk: Desk, option: str, field: str) -> None:
    remaining = NAMED | {"why": "kept", "kept_by": ["grant-5"], "grants": []}
    shown = {"ended": [GRANT], "remaining": [remaining], "note": None}
    desk.answer = RevocationShown.model_validate(shown).model_dump(mode="json")
    done = jit("revoke", "--url", desk.url, "--reason", WHY, option, "111111111111")
    assert done.exit_code == 0
    assert desk.asked[0][0::2] == ("/v1/revocations", {field: "111111111111", "reason": WHY})
    assert done.stdout.splitlines() == [
        "1 ended",
        "revoking: ann on orders-prod with ReadOnly, grant grant-1",
        "there at this moment, kept by grant-5: ann on orders-prod with ReadOnly",
    ]
    Revocation.model_validate(desk.asked[0][2])


def test_refusal_is_one_sentence_and_exit_code_2(desk: Desk) -> None:
    desk.status = 409
    desk.answer = {"title": "Not possible", "detail": "grants are not paused", "code": "grants_not_paused"}
    done = jit("grants", "resume", "--url", desk.url, "--reason", WHY)
    assert (done.exit_code, done.stderr) == (2, "jit grants resume: grants are not paused\n")


@pytest.mark.parametrize("named", [(), ("--user", "u", "--account", "1")])
def test_revoke_of_nothing_or_of_two_things_asks_nothing(desk: Desk, named: tuple[str, ...]) -> None:
    done = jit("revoke", "--url", desk.url, "--reason", WHY, *named)
    assert (done.exit_code, desk.asked) == (2, [])
    assert "exactly one" in done.stderr


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://jit.example.com", "must be https"),
        ("https://127.0.0.1:1", "nothing is known of what came of it"),
    ],
)
def test_token_is_sent_nowhere_in_clear_and_never_shown(url: str, told: str) -> None:
    done = jit("grants", "pause", "--url", url, "--reason", WHY)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "canary" not in done.output
