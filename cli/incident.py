"""`jit grants` and `jit revoke`: what somebody does in an incident, through the API and as themself.

They call the provisioner's routes, as docs/runbook.md does with curl, and decide nothing. The token is never
an argument, where other users of the machine could read it.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn
from urllib.parse import urlsplit

import httpx2
import typer

from shared.foundation.addresses import is_local
from shared.identity.issuer_keys import trusted_roots

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Pause and resume grants, never revokes.")

Url = Annotated[str, typer.Option("--url", help="Where JIT is, such as https://jit.example.com.")]
TokenFile = Annotated[Path, typer.Option("--token-file", help="The token of an administrator; - is stdin.")]
Reason = Annotated[str, typer.Option("--reason", help="At least ten characters; it goes into the audit log.")]

_STDIN: Final = Path("-")
_WITHIN_S: Final = 30.0


@app.command()
def pause(*, url: Url, reason: Reason, token_file: TokenFile = _STDIN) -> None:
    """Let no grant begin and no end move. Ends, stops and revokes go on."""
    answer = _post("grants pause", url, "/v1/grants/pause", token_file, {"reason": reason})
    print(f"paused since {answer['since']} by {answer['user_name']}")
    for grant_id in answer["begun"]:
        print(f"has begun already: {grant_id}")


@app.command()
def resume(*, url: Url, reason: Reason, token_file: TokenFile = _STDIN) -> None:
    """Let grants begin again."""
    answer = _post("grants resume", url, "/v1/grants/resume", token_file, {"reason": reason})
    print(f"resumed; paused since {answer['since']} by {answer['user_name']}: {answer['reason']}")


def revoke(
    *,
    url: Url,
    reason: Reason,
    user: Annotated[str | None, typer.Option("--user", help="Identity Store user id.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="12 digits.")] = None,
    ticket: Annotated[str | None, typer.Option("--ticket", help="Ticket id.")] = None,
    token_file: TokenFile = _STDIN,
) -> None:
    """End all access of a user, an account or a ticket now."""
    given = {"user_id": user, "account_id": account, "ticket_id": ticket}
    named = {name: value for name, value in given.items() if value is not None}
    if len(named) != 1:
        _refuse("revoke", "give exactly one of --user, --account and --ticket")
    answer = _post("revoke", url, "/v1/revocations", token_file, named | {"reason": reason})
    print(f"{len(answer['ended'])} ended{': ' + answer['note'] if answer['note'] else ''}")
    for one in answer["ended"]:
        print(f"{one['state']}: {_access(one)}, grant {one['id']}")
    for one in answer["remaining"]:
        kept = f" by {', '.join(one['kept_by'])}" if one["kept_by"] else ""
        print(f"there at this moment, {one['why']}{kept}: {_access(one)}")


def _access(one: dict[str, Any]) -> str:
    return f"{one['user_name']} on {one['account_name']} with {one['set_name']}"


def _post(command: str, url: str, path: str, token_file: Path, body: dict[str, str]) -> Any:
    """The answer, or one sentence on stderr and exit code 2."""
    address = urlsplit(url)
    if address.scheme != "https" and not is_local(address.hostname or ""):
        _refuse(command, "--url must be https: a token is sent there")
    try:
        text = sys.stdin.read() if token_file == _STDIN else token_file.read_text(encoding="utf-8")
        answer = httpx2.post(
            f"{url.rstrip('/')}{path}",
            json=body,
            headers={"Authorization": f"Bearer {text.strip()}"},
            timeout=_WITHIN_S,
            follow_redirects=False,  # the token is for one address
            trust_env=False,
            verify=trusted_roots(),
        )
        shown = answer.json()
    except (OSError, httpx2.HTTPError, httpx2.InvalidURL, json.JSONDecodeError) as error:
        _refuse(command, f"{type(error).__name__}: {error}; nothing is known of what came of it")
    if answer.status_code != 200:
        _refuse(command, _problem(shown))
    return shown


def _problem(shown: Any) -> str:
    fields = "".join(f"; {one['field']}: {one['detail']}" for one in shown.get("errors", ()))
    return f"{shown.get('detail') or shown.get('title')}{fields}"


def _refuse(command: str, why: str) -> NoReturn:
    print(f"jit {command}: {why}", file=sys.stderr)
    raise typer.Exit(2)
