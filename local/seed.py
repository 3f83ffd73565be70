"""The demo's catalog, scopes and rules, put in over the HTTP API as an administrator would.

Done once for a data folder, whatever interrupts it; what somebody changes afterwards stays.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx2

from local.errors import CannotStart
from simulator.directory import Directory

LONGEST_WAIT_S = 120.0
AT_ONCE = 8
"""Calls under way: more would only wait for each other at the documents' counter."""
_WRITTEN = frozenset({200, 201})
_THEIRS = frozenset({409, 428})
"""An interrupted start put it in, or somebody has changed or removed it since: that stands."""
_LATER = 503
"""What the document names is not read back yet."""
_NOT_READ_YET = frozenset({"account_unknown", "set_unknown"})
"""AWS is read part by part: the first administrators are known before the last account is."""

SET_GROUPS: dict[str, tuple[str, list[str]]] = {
    "read": ("Looking", ["ReadOnly", "LogReader", "DatabaseReadOnly", "NetworkReadOnly"]),
    "elevated": ("Changing", ["PowerUser", "Developer", "Administrator", "DatabaseAdmin", "SystemAdmin"]),
}

Call = tuple[str, dict[str, Any]]
"""Path and body of a PUT."""

Caller = Callable[[str, str, dict[str, Any] | None, dict[str, str]], Awaitable[httpx2.Response]]
"""Sends a call as an administrator: method, path, body, headers."""


class SeedFailed(CannotStart):
    """The demo could not be set up; says what was answered."""


async def seed(call: Caller, organisation: Directory, *, done: Path) -> int:
    """Put the demo's configuration in; how many documents were written. `done` is there when all are in."""
    await _until_read(call, {})
    if _is_there(done):
        return 0
    count = 0
    written: dict[str, int] = {}
    for wave in _waves(organisation):
        answers = await _put_all(call, wave, after=written)
        count += sum(answer.status_code in _WRITTEN for answer in answers)
        written = _newest(answers, written)
        await _until_read(call, written)
    _note(done, count)
    return count


def _is_there(done: Path) -> bool:
    return done.exists()


def _note(done: Path, count: int) -> None:
    done.write_text(json.dumps({"documents": count}))


async def _put_all(call: Caller, wave: Iterable[Call], *, after: dict[str, int]) -> list[httpx2.Response]:
    """Several calls at a time; the first that is refused ends all."""
    left = iter(wave)
    answers: list[httpx2.Response] = []

    async def work() -> None:
        for path, body in left:
            answers.append(await _put(call, path, body, after=after))

    failures: list[BaseException] = []
    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(AT_ONCE):
                workers.create_task(work())
    except* SeedFailed as refused:
        failures += refused.exceptions
    if failures:  # raised up there, some releases of Python 3.11 would wrap it in a group again
        raise failures[0]
    return answers


async def _put(call: Caller, path: str, body: dict[str, Any], *, after: dict[str, int]) -> httpx2.Response:
    async def attempt() -> httpx2.Response:
        return await call("PUT", path, body, _not_before(after))

    answer = await _patiently(attempt, lambda answer: not _is_for_later(answer))
    if answer.status_code not in _WRITTEN | _THEIRS:
        raise SeedFailed(f"the demo's {path} was answered {answer.status_code}: {answer.text}")
    return answer


def _is_for_later(answer: httpx2.Response) -> bool:
    if answer.status_code == 422 and answer.headers.get("Content-Type") == "application/problem+json":
        return {error["code"] for error in answer.json()["errors"]} <= _NOT_READ_YET
    return answer.status_code == _LATER


async def _until_read(call: Caller, written: dict[str, int]) -> None:
    """Until the administrator is known and gets a list that has what was written."""

    async def attempt() -> httpx2.Response:
        return await call("GET", "/v1/scopes", None, _not_before(written))

    await _patiently(attempt, lambda answer: answer.status_code == 200)


async def _patiently(
    attempt: Callable[[], Awaitable[httpx2.Response]], enough: Callable[[httpx2.Response], bool]
) -> httpx2.Response:
    last = "there was no answer"
    try:
        async with asyncio.timeout(LONGEST_WAIT_S):
            while True:
                try:
                    answer = await attempt()
                except httpx2.HTTPError as error:
                    last = f"the last call ended in {type(error).__name__}"
                else:
                    if enough(answer):
                        return answer
                    last = f"the last answer was {answer.text}"
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise SeedFailed(f"the demo was not set up in {LONGEST_WAIT_S:.0f} s: {last}") from None


def _newest(answers: Iterable[httpx2.Response], written: dict[str, int]) -> dict[str, int]:
    """The owners' counters behind all these writes."""
    newest = dict(written)
    for answer in answers:
        for part in filter(None, answer.headers.get("Jit-Revision", "").split(",")):
            owner, _, revision = part.partition("=")
            newest[owner] = max(int(revision), newest.get(owner, 0))
    return newest


def _not_before(written: dict[str, int]) -> dict[str, str]:
    if not written:
        return {}
    return {"Jit-Min-Revision": ",".join(f"{owner}={revision}" for owner, revision in written.items())}


def _waves(world: Directory) -> Iterator[Iterable[Call]]:
    """What stands on the inventory alone, then what names it, then what names that."""
    sets = {one.name: one.arn.rsplit("/", 1)[-1] for one in world.permission_sets.values()}
    try:
        yield [*_accounts(world), *_sets(sets)]
        yield _set_groups(sets)
        yield [*_scopes(world, sets), *_rules(world, sets)]
    except LookupError as error:
        raise SeedFailed(f"the demo's catalog names what this organisation lacks: {error}") from error


def _accounts(world: Directory) -> Iterator[Call]:
    for account in world.accounts.values():
        if account.state == "ACTIVE" and account.name not in {"management", "identity"}:
            yield f"/v1/accounts/{account.id}", {"labels": {"owner": account.tags.get("owner", "")}}


def _sets(sets: dict[str, str]) -> Iterator[Call]:
    for name, set_id in sets.items():
        if name not in {"Auditor", "Workplace"}:
            yield f"/v1/sets/{set_id}", {"long_session_acknowledged": True}


def _set_groups(sets: dict[str, str]) -> list[Call]:
    return [
        (f"/v1/set-groups/{group_id}", {"name": name, "sets": [sets[one] for one in members]})
        for group_id, (name, members) in SET_GROUPS.items()
    ]


def _scopes(world: Directory, sets: dict[str, str]) -> Iterator[Call]:
    def group(name: str) -> str:
        return f"group:{world.find_group(name).id}"

    def unit(name: str) -> str:
        return f"ou:{world.find_parent(name)}"

    def scope(name: str, who: str, accounts: str, chosen: str, duration: str, **more: Any) -> Call:
        body = {"name": name, "subjects": [group(who)], "accounts": accounts, "sets": chosen, **more}
        return f"/v1/scopes/{name}", {**body, "max_duration": duration}

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
        return f"/v1/rules/{rule_id}", {"name": name, "accounts": accounts, "sets": "*", **more}

    two_stages = [stage("owners-prod"), stage("secops")]
    yield rule("prod", "Production", unit("prod"), stages=two_stages)
    yield rule("infrastructure", "Infrastructure", unit("infrastructure"), stages=two_stages)
    yield rule("security", "Security", unit("security"), stages=[stage("secops", needed=2)])
    yield rule("nonprod", "Development and test", unit("nonprod"), stages=[stage("managers", "owners-dev")])
    yield rule("sandbox", "Sandboxes", unit("sandbox"), auto_approve_up_to="PT8H")
    read = {"sets": f"ps:{sets['ReadOnly']}", "auto_approve_up_to": "PT4H"}
    yield rule("nonprod-read", "Reading in development and test", unit("nonprod"), **read)
