"""How the demo's configuration is put in. The HTTP API is answered here; tests/e2e has the real one."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local import seed as seed_module
from local.seed import AT_ONCE, SeedFailed, seed
from simulator.directory import Directory
from simulator.directory_file import load_directory

ORGANISATION, _ = load_directory()
DOCUMENTS = 117 + 23 + 2 + 10 + 6


@dataclass
class Api:
    """Answers PUTs with the next revision of their owner, and remembers who asked for what when."""

    refuse: Callable[[str], int | None] = lambda _path: None
    documents: dict[str, dict[str, str]] = field(default_factory=dict)
    """The headers that each document was put with, by its path."""
    under_way: int = 0
    most: int = 0
    ends: list[str] = field(default_factory=list)

    async def call(
        self, method: str, path: str, _body: dict[str, Any] | None, headers: dict[str, str]
    ) -> httpx2.Response:
        if method == "GET":
            return httpx2.Response(200, json={"items": []})
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        if status := self.refuse(path):
            return httpx2.Response(status, json={"code": "refused"})
        if path in self.documents:
            return httpx2.Response(428)
        self.documents[path] = headers
        self.ends.append(path.split("/")[2])
        owner = "rules" if path.startswith("/v1/rules") else "catalog"
        return httpx2.Response(201, headers={"Jit-Revision": f"{owner}={len(self.documents)}"})


async def test_each_kind_waits_for_what_it_names_and_within_a_wave_several_calls_run(tmp_path: Path) -> None:
    api = Api()
    assert await seed(api.call, ORGANISATION, done=tmp_path / "seeded") == DOCUMENTS
    assert api.most == AT_ONCE
    assert api.documents["/v1/set-groups/read"] == {"Jit-Min-Revision": "catalog=140"}
    assert api.documents["/v1/rules/prod"] == {"Jit-Min-Revision": "catalog=142"}
    assert max(i for i, kind in enumerate(api.ends) if kind in {"accounts", "sets"}) < api.ends.index(
        "set-groups"
    )


async def test_a_second_start_puts_nothing_in_whatever_was_removed_meanwhile(tmp_path: Path) -> None:
    api, done = Api(), tmp_path / "seeded"
    await seed(api.call, ORGANISATION, done=done)
    api.documents.clear()
    assert await seed(api.call, ORGANISATION, done=done) == 0
    assert api.documents == {}


async def test_an_interrupted_start_is_finished_by_the_next_and_what_was_changed_stays(
    tmp_path: Path,
) -> None:
    api, done = Api(), tmp_path / "seeded"
    removed_by_somebody = "/v1/scopes/no-contractors-on-prod"

    def interrupt(_path: str) -> None:
        if len(api.documents) == 100:
            starting.cancel()

    api.refuse = interrupt
    starting = asyncio.create_task(seed(api.call, ORGANISATION, done=done))
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not done.exists()
    assert 100 <= len(api.documents) < DOCUMENTS
    api.refuse = lambda path: 409 if path == removed_by_somebody else None
    await seed(api.call, ORGANISATION, done=done)
    assert len(api.documents) == DOCUMENTS - 1


async def test_an_answer_that_is_lost_is_asked_for_again(tmp_path: Path) -> None:
    api = Api()
    lost = iter([True])

    async def call(method: str, path: str, *more: Any) -> httpx2.Response:
        answer = await api.call(method, path, *more)
        if path == "/v1/rules/prod" and next(lost, False):
            raise httpx2.ReadTimeout("lost")
        return answer

    assert await seed(call, ORGANISATION, done=tmp_path / "seeded") == DOCUMENTS - 1
    assert len(api.documents) == DOCUMENTS


async def test_what_is_not_read_back_yet_is_asked_again(tmp_path: Path) -> None:
    later = iter([503, 503])
    api = Api(refuse=lambda path: next(later, None) if path == "/v1/rules/prod" else None)
    assert await seed(api.call, ORGANISATION, done=tmp_path / "seeded") == DOCUMENTS


async def test_a_refusal_names_the_document_and_the_answer(tmp_path: Path) -> None:
    api = Api(refuse=lambda path: 422 if path == "/v1/scopes/on-call-prod" else None)
    with pytest.raises(SeedFailed, match=r"/v1/scopes/on-call-prod was answered 422: .*refused"):
        await seed(api.call, ORGANISATION, done=tmp_path / "seeded")
    assert not (tmp_path / "seeded").exists()


async def test_an_administrator_who_never_gets_in_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stranger(*_given: Any) -> httpx2.Response:
        return httpx2.Response(403, text="identity_unknown")

    monkeypatch.setattr(seed_module, "LONGEST_WAIT_S", 0.2)
    with pytest.raises(SeedFailed, match=r"in 0 s: the last answer was identity_unknown"):
        await seed(stranger, ORGANISATION, done=tmp_path / "seeded")


async def test_an_organisation_without_the_demos_groups_is_one_sentence(tmp_path: Path) -> None:
    smaller: Directory = ORGANISATION.model_copy(update={"groups": {}})
    with pytest.raises(SeedFailed, match=r"names what this organisation lacks: .*'dev'"):
        await seed(Api().call, smaller, done=tmp_path / "seeded")
