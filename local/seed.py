"""The demo's catalogue, scopes and rules, put in over the HTTP API as an administrator would.

Done once, when the catalogue is empty; what somebody changed later stays.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx2

from simulator.directory import Directory

LONGEST_WAIT_S = 120.0

SET_GROUPS: dict[str, tuple[str, list[str]]] = {
    "read": ("Looking", ["ReadOnly", "LogReader", "DatabaseReadOnly", "NetworkReadOnly"]),
    "elevated": ("Changing", ["PowerUser", "Developer", "Administrator", "DatabaseAdmin", "SystemAdmin"]),
}

Call = tuple[str, str, dict[str, Any]]
"""Method, path, body."""


Caller = Callable[[str, str, dict[str, Any] | None, dict[str, str]], Awaitable[httpx2.Response]]
"""Sends a call as an administrator: method, path, body, headers."""


class SeedFailed(RuntimeError):
    """The demo could not be set up; says what was answered."""


async def seed(call: Caller, organisation: Directory) -> int:
    """Put the demo's configuration in; returns how many documents were written (0 when already there)."""
    if await _is_seeded(call):
        return 0
    count = 0
    written: dict[str, str] = {}
    noun = ""
    for method, path, body in _calls(organisation):
        # Another kind of document may refer to those before: the service waits until it has read them back.
        awaited = {} if path.split("/")[2] == noun else written
        noun = path.split("/")[2]
        answer = await call(method, path, body, awaited)
        if answer.status_code not in {200, 201, 428}:
            raise SeedFailed(f"{method} {path}: {answer.status_code} {answer.text}")
        count += answer.status_code != 428
        if wrote := answer.headers.get("Jit-Revision"):
            written = {"Jit-Min-Revision": wrote}
    await _until_read_back(call, written)
    return count


async def _until_read_back(call: Caller, written: dict[str, str]) -> None:
    """What was written last counts too, before anybody is told that the demo is ready."""
    async with asyncio.timeout(LONGEST_WAIT_S):
        while (await call("GET", "/v1/scopes", None, written)).status_code != 200:  # noqa: ASYNC110 (over HTTP)
            await asyncio.sleep(0.2)


async def _is_seeded(call: Caller) -> bool:
    """Wait until the administrator is known (the inventory was read), then look for a scope."""
    async with asyncio.timeout(LONGEST_WAIT_S):
        while True:
            answer = await call("GET", "/v1/scopes", None, {})
            if answer.status_code == 200:
                return bool(answer.json()["items"])
            await asyncio.sleep(0.2)


def _calls(world: Directory) -> Iterator[Call]:
    for account in world.accounts.values():
        if account.state == "ACTIVE" and account.name not in {"management", "identity"}:
            yield "PUT", f"/v1/accounts/{account.id}", {"labels": {"owner": account.tags.get("owner", "")}}
    sets = {one.name: one.arn.rsplit("/", 1)[-1] for one in world.permission_sets.values()}
    for name, set_id in sets.items():
        if name not in {"Auditor", "Workplace"}:
            yield "PUT", f"/v1/sets/{set_id}", {"long_session_acknowledged": True}
    for group_id, (name, members) in SET_GROUPS.items():
        yield "PUT", f"/v1/set-groups/{group_id}", {"name": name, "sets": [sets[one] for one in members]}
    yield from _scopes(world, sets)
    yield from _rules(world, sets)


def _scopes(world: Directory, sets: dict[str, str]) -> Iterator[Call]:
    def group(name: str) -> str:
        return f"group:{world.find_group(name).id}"

    def unit(name: str) -> str:
        return f"ou:{world.find_parent(name)}"

    def scope(name: str, who: str, accounts: str, chosen: str, duration: str, **more: Any) -> Call:
        body = {"name": name, "subjects": [group(who)], "accounts": accounts, "sets": chosen, **more}
        return "PUT", f"/v1/scopes/{name}", {**body, "max_duration": duration}

    yield scope("dev-read-everywhere", "dev", "*", "psg:read", "P1D")
    yield scope("dev-change-nonprod", "dev", unit("nonprod"), "psg:elevated", "PT8H")
    yield scope("dev-change-sandbox", "dev", unit("sandbox"), "psg:elevated", "P1D")
    yield scope("dev-admin-prod", "dev", "tag:env=prod", f"ps:{sets['Administrator']}", "PT1H")
    yield scope("engineers-read", "engineers", "*", "psg:read", "P1D")
    yield scope("engineers-change-nonprod", "engineers", unit("nonprod"), "psg:elevated", "PT8H")
    yield scope("on-call-prod", "on-call", unit("prod"), "psg:elevated", "PT4H")
    yield scope("managers-for-others", "managers", "*", "*", "P1D", verbs=["request_for"])
    yield scope("no-contractors-on-prod", "contractors", "tag:env=prod", "*", "PT0S", effect="deny")
    yield scope(
        "no-admin-on-card-data", "dev", "tag:pci=yes", f"ps:{sets['Administrator']}", "PT0S", effect="deny"
    )


def _rules(world: Directory, sets: dict[str, str]) -> Iterator[Call]:
    def stage(*groups: str, needed: int = 1) -> dict[str, Any]:
        ids = [f"group:{world.find_group(name).id}" for name in groups]
        return {"approvers": ids, "needed": needed}

    def unit(name: str) -> str:
        return f"ou:{world.find_parent(name)}"

    def rule(rule_id: str, name: str, accounts: str, **more: Any) -> Call:
        return "PUT", f"/v1/rules/{rule_id}", {"name": name, "accounts": accounts, "sets": "*", **more}

    two_stages = [stage("owners-prod"), stage("secops")]
    yield rule("prod", "Production", unit("prod"), stages=two_stages)
    yield rule("infrastructure", "Infrastructure", unit("infrastructure"), stages=two_stages)
    yield rule("security", "Security", unit("security"), stages=[stage("secops", needed=2)])
    yield rule("nonprod", "Development and test", unit("nonprod"), stages=[stage("managers", "owners-dev")])
    yield rule("sandbox", "Sandboxes", unit("sandbox"), auto_approve_up_to="PT8H")
    read = {"sets": f"ps:{sets['ReadOnly']}", "auto_approve_up_to": "PT4H"}
    yield rule("nonprod-read", "Reading in development and test", unit("nonprod"), **read)
