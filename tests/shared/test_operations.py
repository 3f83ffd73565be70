"""The routes for those who run a service: who may use them, and that they do what they say."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter

from local.issuer import DevelopmentIssuer
from shared.contracts import topics
from shared.contracts.configuration import AuthzDenied, OperationRequested, facts_of
from shared.contracts.documents import ApprovalRule, RegisteredAccount
from shared.database.pool import Pool
from shared.database.unit_of_work import UnitOfWork
from shared.documents import document_store
from shared.foundation.clock import ManualClock
from shared.http.access import PERSON, requires
from shared.http.routers import make_router
from shared.messaging import dead_letters, outbox
from shared.messaging.envelope import Received
from shared.messaging.subscription import Subscription
from shared.runtime.service import Parts, Process, Service
from tests.shared.test_dead_letters import good_record, record
from tests.support.corridor import fact, settings_for
from tests.support.harness import NOW, ready_tables, said
from tests.support.http import api, issuer_server, trusted
from tests.support.organisation import user_id
from tests.support.units import unit

RULE_FACTS = facts_of(ApprovalRule)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevelopmentIssuer]:
    with issuer_server(tmp_path_factory.mktemp("issuer")) as found:
        yield found


class Office:
    """A ticket service with its database, not started; its handler fails while told to."""

    def __init__(self, dsn: str, pool: Pool, issuer: DevelopmentIssuer) -> None:
        self.clock = ManualClock(NOW)
        self.handled: list[int] = []
        self.broken = False
        self._issuer = issuer
        self.service = Service(
            "ticket",
            settings_for(dsn, issuers=(trusted(issuer),)),
            Parts(
                routers=lambda _context: [_plain_routes()],
                subscriptions=lambda _context: [
                    Subscription(topics.APPROVAL, {RULE_FACTS.changed: self._handle})
                ],
            ),
            process=Process(self.clock, ready_tables(self.clock)),
        )
        self.service.context.set_pool(pool)

    async def _handle(self, _work: UnitOfWork, received: Received[RULE_FACTS.changed]) -> None:
        if self.broken:
            raise RuntimeError("hunter2")
        self.handled.append(received.event.revision)

    def as_(self, user: str | None) -> AbstractAsyncContextManager[httpx2.AsyncClient]:
        return api(self.service, self._issuer, user)


def _plain_routes() -> APIRouter:
    """What ops routes are not: something that needs policy and inventory to be here."""
    routes = make_router("test")

    async def answer() -> dict[str, bool]:
        return {"done": True}

    routes.get("/read", dependencies=[requires(PERSON)])(answer)
    routes.post("/write", dependencies=[requires(PERSON)])(answer)
    routes.post("/stop", dependencies=[requires(PERSON, stale_ok=True)])(answer)
    return routes


@pytest.fixture
async def office(dsn: str, pool: Pool, issuer: DevelopmentIssuer) -> AsyncIterator[Office]:
    found = Office(dsn, pool, issuer)
    yield found
    found.service.context.set_pool(None)


async def parked(office: Office, pool: Pool, *, good: bool = True) -> str:
    await dead_letters.park(pool, good_record() if good else record(b"{"), error="e", now=NOW)
    async with office.as_("aud") as client:
        letter: str = (await client.get("/v1/ops/ticket/dead-letters")).json()["items"][0]["id"]
        return letter


async def test_dead_letters_are_listed_in_pages(office: Office, pool: Pool) -> None:
    for offset in range(3):
        await dead_letters.park(pool, record(b"{", offset=offset), error="e", now=NOW)
    async with office.as_("root") as client:
        first = (await client.get("/v1/ops/ticket/dead-letters?limit=2")).json()
        second = (
            await client.get(f"/v1/ops/ticket/dead-letters?limit=2&cursor={first['next_cursor']}")
        ).json()
    assert [item["offset"] for item in first["items"] + second["items"]] == [2, 1, 0]
    assert second["next_cursor"] is None


async def test_a_replay_handles_the_letter_and_marks_it(office: Office, pool: Pool) -> None:
    letter = await parked(office, pool)
    async with office.as_("root") as client:
        answer = await client.post(f"/v1/ops/ticket/dead-letters/{letter}/replay")
    assert (answer.status_code, answer.json()["outcome"]) == (202, "handled")
    assert office.handled == [1]
    assert await pool.fetchval("SELECT replayed_at FROM dead_letter") == NOW


async def test_a_replay_that_fails_leaves_the_letter_and_tells_no_details(office: Office, pool: Pool) -> None:
    letter = await parked(office, pool)
    office.broken = True
    async with office.as_("root") as client:
        answer = await client.post(f"/v1/ops/ticket/dead-letters/{letter}/replay")
    assert (answer.status_code, answer.json()["code"]) == (409, "replay_failed")
    assert "hunter2" not in answer.text
    assert await pool.fetchval("SELECT replayed_at FROM dead_letter") is None


async def test_a_replay_that_cannot_be_read_is_parked_anew(office: Office, pool: Pool) -> None:
    letter = await parked(office, pool, good=False)
    office.clock.advance(timedelta(seconds=1))
    async with office.as_("root") as client:
        answer = await client.post(f"/v1/ops/ticket/dead-letters/{letter}/replay")
    assert answer.json()["outcome"] == "parked"
    assert await pool.fetchval("SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL") == 1


async def test_an_unknown_letter_is_not_found(office: Office, pool: Pool) -> None:
    async with office.as_("root") as client:
        answer = await client.post("/v1/ops/ticket/dead-letters/00000000-0000-0000-0000-000000000000/replay")
        assert answer.status_code == 404
        assert (await client.post("/v1/ops/ticket/dead-letters/17/replay")).status_code == 422


async def test_the_outbox_is_replayed_since_a_moment(office: Office, pool: Pool) -> None:
    async with unit(pool) as work:
        outbox.append(work, "ticket", fact("k", 1, at=NOW - timedelta(hours=2)), fact("k", 2, at=NOW))
        await work.write_collected()
        await work.conn.execute("UPDATE outbox SET sent_at = $1", NOW)
    async with office.as_("root") as client:
        answer = await client.post("/v1/ops/ticket/outbox/replay", json={"since": NOW.isoformat()})
        assert (answer.status_code, answer.json()) == (202, {"marked": 1})
        naive = await client.post("/v1/ops/ticket/outbox/replay", json={"since": "2026-03-02T09:00:00"})
        assert naive.status_code == 422


async def test_documents_are_republished_by_the_publisher_once_that_is_committed(
    office: Office, pool: Pool
) -> None:
    called: list[str] = []
    office.service.context.republish = lambda: called.append("publisher")
    async with unit(pool) as work:
        await document_store.put(work, "ticket", RegisteredAccount(id="1"), at=NOW)
    await pool.execute("DELETE FROM outbox")
    async with office.as_("root") as client:
        answer = await client.post("/v1/ops/ticket/documents/republish")
    assert (answer.status_code, answer.json()) == (202, {"documents": 1})
    types = [row["type"] for row in await pool.fetch("SELECT type FROM outbox ORDER BY id")]
    assert (types, called) == (["operation.requested.v1"], ["publisher"])


async def test_what_is_mended_is_a_fact(office: Office, pool: Pool) -> None:
    letter = await parked(office, pool)
    async with office.as_("root") as client:
        await client.post(f"/v1/ops/ticket/dead-letters/{letter}/replay")
        await client.post("/v1/ops/ticket/outbox/replay", json={"since": NOW.isoformat()})
        await client.post("/v1/ops/ticket/documents/republish")
    facts = [one for one in await said(office.service) if isinstance(one, OperationRequested)]
    assert [(one.operation, one.detail) for one in facts] == [
        ("dead_letter.replay", letter),
        ("outbox.replay", f"since {NOW.isoformat()}"),
        ("documents.republish", ""),
    ]
    assert {(one.subject, one.actor.name) for one in facts} == {(user_id("root"), "root")}
    assert all(one.cause for one in facts)


async def test_alerts_that_stand_are_listed(office: Office) -> None:
    await office.service.context.alerts.raise_alert(key="disk", summary="disk is full", detail="d")
    async with office.as_("aud") as client:
        (item,) = (await client.get("/v1/ops/ticket/alerts")).json()["items"]
    assert (item["key"], item["summary"]) == ("disk", "disk is full")


ROUTES = [
    ("GET", "/v1/ops/ticket/dead-letters", {"root", "aud"}),
    ("GET", "/v1/ops/ticket/alerts", {"root", "aud"}),
    ("POST", "/v1/ops/ticket/documents/republish", {"root"}),
    ("POST", "/v1/ops/ticket/outbox/replay", {"root"}),
    ("POST", "/v1/ops/ticket/dead-letters/00000000-0000-0000-0000-000000000000/replay", {"root"}),
]


@pytest.mark.parametrize(("method", "path", "allowed"), ROUTES)
async def test_only_operations_and_auditors_get_past(
    office: Office, method: str, path: str, allowed: set[str]
) -> None:
    body: Any = {"json": {"since": NOW.isoformat()}} if path.endswith("outbox/replay") else {}
    for user in (None, "ann", "carl", "root", "aud"):
        async with office.as_(user) as client:
            status = (await client.request(method, path, **body)).status_code
        expected = {401} if user is None else {403} if user not in allowed else {200, 202, 404}
        assert status in expected, f"{user} got {status} from {method} {path}"


async def test_a_refusal_is_a_fact(office: Office) -> None:
    async with office.as_("ann") as client:
        await client.get("/v1/ops/ticket/alerts")
    (denied,) = await said(office.service, AuthzDenied)
    assert isinstance(denied, AuthzDenied)
    assert (denied.actor.name, denied.verb, denied.route) == ("ann", "ops.read", "GET /v1/ops/ticket/alerts")


async def test_a_refusal_stands_although_it_cannot_be_recorded(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(office.service.context, "record", full)
    async with office.as_("ann") as client:
        assert (await client.get("/v1/ops/ticket/alerts")).status_code == 403


async def statuses(office: Office) -> list[tuple[int, str | None]]:
    """What a read, a write and a stop of ann's answer."""
    async with office.as_("ann") as client:
        answers = [await client.get("/read"), await client.post("/write"), await client.post("/stop")]
    return [(answer.status_code, answer.json().get("code")) for answer in answers]


async def test_on_stale_tables_writes_are_refused_and_reads_and_stops_are_not(office: Office) -> None:
    office.service.context.policy._stale_after = timedelta(seconds=60)
    assert await statuses(office) == [(200, None)] * 3
    office.clock.advance(timedelta(seconds=61))
    assert await statuses(office) == [(200, None), (503, "tables_stale"), (200, None)]


async def test_on_tables_that_are_not_ready_stops_alone_are_answered(office: Office) -> None:
    office.service.context.policy._copies["approval"].verified = False
    assert await statuses(office) == [(503, "tables_not_ready"), (503, "tables_not_ready"), (200, None)]


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        ("catalog=1", 200, None),
        ("catalog=1,rules=1,inventory=1", 200, None),
        ("catalogs=1", 422, "min_revision_invalid"),
        ("now", 422, "min_revision_invalid"),
        ("catalog=-1", 422, "min_revision_invalid"),
        ("catalog=1_0", 422, "min_revision_invalid"),
        ("catalog=" + "9" * 4000, 422, "min_revision_invalid"),
    ],
)
async def test_a_revision_may_be_waited_for(
    office: Office, wanted: str, status: int, code: str | None
) -> None:
    async with office.as_("root") as client:
        answer = await client.get("/v1/ops/ticket/alerts", headers={"Jit-Min-Revision": wanted})
    assert answer.status_code == status
    assert answer.json().get("code") == code
