"""First sight, conflicts and rebinding over HTTP and real PostgreSQL, by real tokens."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import asyncpg
import httpx2
import pytest

from local.issuer import DevelopmentIssuer, subject_of
from services.provisioner.__main__ import build
from services.provisioner.commands.inventory import preload
from services.provisioner.settings import ProvisionerSettings
from shared.contracts.configuration import AuthzDenied
from shared.contracts.documents import Binding, Membership, binding_id
from shared.contracts.identity import IdentityBound, IdentityConflictFound, IdentityFact, IdentityRebound
from shared.documents import document_store
from shared.foundation.clock import ManualClock, new_id
from shared.foundation.environment import read
from shared.policy.snapshot import Snapshot
from shared.runtime.service import Process, Service
from tests.support import organisation as org
from tests.support.bindings import DAY
from tests.support.harness import (
    NO_DOCUMENTS,
    NOW,
    empty,
    publish,
    ready_tables,
    said,
    service_database,
    with_pool,
)
from tests.support.http import api, issuer_server, trusted
from tests.support.signing import key_settings

EMPTIED = ("binding", "binding_conflict", "document", "outbox", "idempotency_key")
REASON = {"reason": "made anew in the identity provider, called back"}
ANN, ROOT = org.user_id("ann"), org.user_id("root")


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevelopmentIssuer]:
    with issuer_server(tmp_path_factory.mktemp("issuer")) as issuer:
        yield issuer


@pytest.fixture(scope="module")
async def migrated(admin_dsn: str) -> AsyncIterator[str]:
    async with service_database(admin_dsn, "provisioner") as dsn:
        yield dsn


@pytest.fixture
async def dsn(admin_dsn: str, migrated: str) -> str:
    await empty(admin_dsn, migrated, *EMPTIED, reset=NO_DOCUMENTS)
    return migrated


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


def replica(dsn: str, issuer: DevelopmentIssuer, clock: ManualClock) -> Service:
    settings = read(
        ProvisionerSettings,
        **key_settings("provisioner"),
        env="development",
        database_url=dsn,
        issuers=(trusted(issuer),),
        role_admin=tuple(org.ROLES["admin"]),
        role_auditor=tuple(org.ROLES["auditor"]),
    )
    return build(settings, process=Process(clock, ready_tables(clock)))


@pytest.fixture
async def service(dsn: str, issuer: DevelopmentIssuer, clock: ManualClock) -> AsyncIterator[Service]:
    async with with_pool(replica(dsn, issuer, clock)) as service:
        yield service


class Calls:
    """The service as people call it; `sub` is the subject of their token, their own unless given."""

    def __init__(self, service: Service, issuer: DevelopmentIssuer) -> None:
        self.service = service
        self._issuer = issuer

    async def me(self, who: str, sub: str | None = None) -> httpx2.Response:
        async with api(self.service, self._issuer, who, sub=sub or subject_of(who)) as client:
            return await client.get("/v1/me")

    async def refused(self, who: str, sub: str | None = None) -> str:
        """The conflict's id."""
        answer = await self.me(who, sub)
        assert (answer.status_code, answer.json()["code"]) == (403, "identity_conflict"), answer.text
        return str(answer.json()["conflict_id"])

    async def conflicts(self, who: str = "root", **query: Any) -> httpx2.Response:
        async with api(self.service, self._issuer, who) as client:
            return await client.get("/v1/bindings/conflicts", params=query)

    async def rebind(
        self, conflict_id: str, who: str = "root", *, body: Any = None, key: str = ""
    ) -> httpx2.Response:
        headers = {"Idempotency-Key": key or new_id()}
        async with api(self.service, self._issuer, who) as client:
            path = f"/v1/bindings/{conflict_id}/rebind"
            return await client.post(path, json=body or REASON, headers=headers)

    @property
    def snapshot(self) -> Snapshot:
        return self.service.context.policy.known()

    @property
    def issuer_url(self) -> str:
        return self._issuer.issuer_url


@pytest.fixture
def calls(service: Service, issuer: DevelopmentIssuer) -> Calls:
    return Calls(service, issuer)


async def rows(service: Service) -> set[tuple[str, str, bool]]:
    found = await service.context.pool.fetch("SELECT sub, user_id, killed_at IS NOT NULL FROM binding")
    return {(row[0], row[1], row[2]) for row in found}


async def facts(service: Service) -> list[str]:
    return [fact.TYPE.split(".")[1] for fact in await said(service, IdentityFact)]


async def test_first_sight_binds_in_the_database_and_publishes_once(calls: Calls, service: Service) -> None:
    sub = subject_of("ann")
    for _ in range(2):
        assert (await calls.me("ann")).json()["id"] == ANN
    assert await rows(service) == {(sub, ANN, False)}
    (fact,) = await said(service, IdentityFact)
    assert isinstance(fact, IdentityBound)
    assert (fact.subject, fact.sub, fact.actor.user_id, fact.at) == (ANN, sub, ANN, NOW)
    assert fact.cause, "the request"
    known = calls.snapshot.sign_ins.binding(calls.issuer_url, sub)
    assert known is not None
    async with service.context.pool.acquire() as conn:
        stored = await document_store.get(conn, Binding, known.id)
    assert stored == known
    assert (known.user_id, known.bound_at, known.quiet_until) == (ANN, NOW, None)


async def test_first_sight_on_any_route_of_the_provisioner_binds(
    calls: Calls, service: Service, issuer: DevelopmentIssuer
) -> None:
    async with api(service, issuer, "ann", sub=subject_of("ann")) as client:
        assert (await client.get("/v1/grants")).status_code == 200
    assert await facts(service) == ["bound"]


async def test_stop_by_an_unseen_sign_in_works_and_binds_nobody(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    async with api(service, issuer, "root", sub=subject_of("root")) as client:
        body = {"user_id": ANN, "reason": "the laptop was stolen"}
        assert (await client.post("/v1/revocations", json=body)).status_code == 200
    assert await rows(service) == set()


async def test_first_sight_of_nobody_or_somebody_disabled_stores_nothing(
    calls: Calls, service: Service
) -> None:
    for who, code in (("nobody", "identity_unknown"), ("gone", "identity_disabled")):
        assert (await calls.me(who)).json()["code"] == code
    assert await rows(service) == set()
    assert await facts(service) == []


async def test_what_another_replica_has_bound_is_read_from_the_database(
    calls: Calls, dsn: str, issuer: DevelopmentIssuer, clock: ManualClock
) -> None:
    await calls.me("ann")
    async with with_pool(replica(dsn, issuer, clock)) as other:
        assert other.context.policy.known().sign_ins.binding(calls.issuer_url, subject_of("ann")) is None
        second = Calls(other, issuer)
        assert (await second.me("ann")).status_code == 200
        assert await facts(other) == ["bound"]
        assert await preload(other.context) == 0, "no inventory is stored"
        known = other.context.policy.known().sign_ins.binding(calls.issuer_url, subject_of("ann"))
        assert known is not None, "and a start takes it over, without the broker"


async def test_many_first_sights_at_two_replicas_bind_once(
    dsn: str, issuer: DevelopmentIssuer, clock: ManualClock
) -> None:
    async with AsyncExitStack() as exits:
        both = [await exits.enter_async_context(with_pool(replica(dsn, issuer, clock))) for _ in range(2)]
        answers = await asyncio.gather(*(Calls(both[n % 2], issuer).me("ann") for n in range(12)))
        assert [one.status_code for one in answers] == [200] * 12
        assert await rows(both[0]) == {(subject_of("ann"), ANN, False)}
        assert await facts(both[0]) == ["bound"]


async def test_many_subjects_of_one_user_at_once_have_one_winner(
    dsn: str, issuer: DevelopmentIssuer, clock: ManualClock
) -> None:
    async with AsyncExitStack() as exits:
        both = [await exits.enter_async_context(with_pool(replica(dsn, issuer, clock))) for _ in range(2)]
        subs = [f"s-{number % 4}" for number in range(12)]
        answers = await asyncio.gather(
            *(Calls(both[n % 2], issuer).me("ann", sub) for n, sub in enumerate(subs))
        )
        ((winner, _, _),) = await rows(both[0])
        for sub, answer in zip(subs, answers, strict=True):
            assert answer.status_code == (200 if sub == winner else 403), answer.text
        assert sorted(await facts(both[0])) == ["bound", *["conflict_found"] * 3]


async def test_many_users_of_one_subject_at_once_have_one_winner(
    dsn: str, issuer: DevelopmentIssuer, clock: ManualClock
) -> None:
    async with AsyncExitStack() as exits:
        both = [await exits.enter_async_context(with_pool(replica(dsn, issuer, clock))) for _ in range(2)]
        names = [("ann", "bob", "carl")[number % 3] for number in range(12)]
        answers = await asyncio.gather(
            *(Calls(both[n % 2], issuer).me(name, "s") for n, name in enumerate(names))
        )
        ((_, winner, _),) = await rows(both[0])
        for name, answer in zip(names, answers, strict=True):
            assert answer.status_code == (200 if org.user_id(name) == winner else 403)


async def test_the_database_refuses_what_the_code_would_not_do(calls: Calls, service: Service) -> None:
    await calls.me("ann")
    pool, insert = service.context.pool, "INSERT INTO binding VALUES ($1, $2, $3, $4)"
    for sub, user in (("s", ANN), (subject_of("ann"), "user-bob")):
        with pytest.raises(asyncpg.UniqueViolationError):
            await pool.execute(insert, calls.issuer_url, sub, user, NOW)
    await pool.execute(insert, "https://other", subject_of("ann"), ANN, NOW)
    for statement in ("DELETE FROM binding", "UPDATE binding SET user_id = 'user-bob'"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)
    await pool.execute("UPDATE binding SET killed_at = $1", NOW)
    with pytest.raises(asyncpg.RestrictViolationError):
        await pool.execute("UPDATE binding SET killed_at = NULL")


async def test_conflict_is_stored_once_told_once_and_names_its_id(calls: Calls, service: Service) -> None:
    await calls.me("ann")
    ids = {await calls.refused("ann", "s-2") for _ in range(5)}
    (conflict_id,) = ids
    (found,) = await said(service, IdentityConflictFound)
    assert isinstance(found, IdentityConflictFound)
    assert (found.conflict_id, found.user_id, found.sub) == (conflict_id, ANN, "s-2")
    assert (found.bound_user_id, found.bound_sub) == (None, subject_of("ann"))
    assert [one.key for one in service.context.alerts.active] == [f"identity-conflict/{conflict_id}"]
    assert await service.context.pool.fetchval("SELECT count(*) FROM binding_conflict") == 1
    proof = await service.context.pool.fetchval("SELECT proof FROM binding_conflict")
    assert len(proof) == 64, "a digest of what names the token, and nothing of the token"
    assert (await calls.me("ann")).status_code == 200, "whom it is about gets in as before"


async def test_conflict_of_a_subject_that_names_somebody_else_is_found_by_each_user(
    calls: Calls, service: Service
) -> None:
    await calls.me("ann", "s")
    assert len({await calls.refused("bob", "s"), await calls.refused("carl", "s")}) == 2
    assert await rows(service) == {("s", ANN, False)}


async def test_conflicts_are_listed_to_who_may_read_the_configuration(calls: Calls) -> None:
    await calls.me("ann", "s-1")
    first = await calls.refused("ann", "s-2")
    second = await calls.refused("bob", "s-1")
    page = (await calls.conflicts(limit=1)).json()
    assert page["items"] == [
        {
            "id": second, "iss": calls.issuer_url, "sub": "s-1", "user_id": "user-bob", "user_name": "bob",
            "bound_user_id": ANN, "bound_user_name": "ann", "bound_sub": None, "lookup": "user_name",
            "lookup_value": "bob", "found_at": "2026-03-02T09:00:00Z",
        }
    ]  # fmt: skip
    rest = (await calls.conflicts("aud", limit=1, cursor=page["next_cursor"])).json()
    assert ([one["id"] for one in rest["items"]], rest["next_cursor"]) == ([first], None)
    assert (await calls.conflicts("ann")).status_code == 403


async def test_rebind_of_a_new_subject_kills_the_old_one_for_ever(calls: Calls, service: Service) -> None:
    await calls.me("ann", "old")
    answer = await calls.rebind(await calls.refused("ann", "new"))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["sub"], answer.json()["user_id"]) == ("new", ANN)
    assert answer.json()["quiet_until"] == "2026-03-03T09:00:00Z"
    assert await rows(service) == {("old", ANN, True), ("new", ANN, False)}
    assert (await calls.me("ann", "new")).json()["quiet_until"] == "2026-03-03T09:00:00Z"
    assert (await calls.conflicts()).json()["items"] == []
    (fact,) = await said(service, IdentityRebound)
    assert isinstance(fact, IdentityRebound)
    assert (fact.actor.user_id, fact.why, fact.bound_sub, fact.bound_user_id) == (
        ROOT, REASON["reason"], "old", None,
    )  # fmt: skip
    for who in ("ann", "bob"):
        again = await calls.me(who, "old")
        assert (again.status_code, again.json()["code"]) == (403, "identity_replaced"), "to anybody"
    assert (await calls.conflicts()).json()["items"] == [], "a dead subject makes no conflict"


async def test_rebind_of_a_killed_subject_is_refused_also_where_no_document_says_so(
    calls: Calls, dsn: str, issuer: DevelopmentIssuer, clock: ManualClock
) -> None:
    await calls.me("ann", "old")
    await calls.rebind(await calls.refused("ann", "new"))
    async with with_pool(replica(dsn, issuer, clock)) as other:
        assert (await Calls(other, issuer).me("bob", "old")).json()["code"] == "identity_replaced"
        assert (await Calls(other, issuer).me("ann", "new")).status_code == 200


async def test_rebind_publishes_the_killed_document_as_deleted(calls: Calls, service: Service) -> None:
    await calls.me("ann", "old")
    await calls.rebind(await calls.refused("ann", "new"))
    assert calls.snapshot.sign_ins.is_replaced(calls.issuer_url, "old")
    assert [one.sub for one in calls.snapshot.sign_ins.of(ANN)] == ["new"]
    types = await service.context.pool.fetch("SELECT key FROM outbox WHERE key LIKE 'binding/%' ORDER BY id")
    named = [f"binding/{binding_id(calls.issuer_url, sub)}" for sub in ("old", "old", "new")]
    assert [row["key"] for row in types] == named


async def test_rebind_of_a_person_made_anew_keeps_the_subject(calls: Calls, service: Service) -> None:
    await calls.me("ann")
    anew = org.user("ann").model_copy(update={"id": "user-ann-2", "email": "ann2@example.com"})
    publish(service.context.policy, org.user("ann").model_copy(update={"deleted": True}), anew)
    assert (await calls.rebind(await calls.refused("ann"))).status_code == 200
    assert (await calls.me("ann")).json()["id"] == "user-ann-2"
    assert await rows(service) == {
        (subject_of("ann"), ANN, True), (subject_of("ann"), "user-ann-2", False),
    }  # fmt: skip


async def test_rebind_of_subject_and_user_both_bound_otherwise_kills_both(
    calls: Calls, service: Service
) -> None:
    await calls.me("ann", "s-ann")
    await calls.me("bob", "s-bob")
    assert (await calls.rebind(await calls.refused("bob", "s-ann"))).status_code == 200
    assert await rows(service) == {
        ("s-ann", ANN, True), ("s-bob", "user-bob", True), ("s-ann", "user-bob", False),
    }  # fmt: skip
    assert (await calls.me("bob", "s-bob")).json()["code"] == "identity_replaced"
    assert (await calls.me("ann", "s-ann")).json()["code"] == "identity_replaced", "the pair is dead"
    assert (await calls.me("ann", "s-new")).status_code == 200, "ann has none now, and may be seen anew"


async def test_rebind_twice_once_and_with_one_key_the_same_answer(calls: Calls, service: Service) -> None:
    await calls.me("ann", "old")
    conflict_id, key = await calls.refused("ann", "new"), new_id()
    answers = [await calls.rebind(conflict_id, key=key) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    again = await calls.rebind(conflict_id)
    assert (again.status_code, again.json()["code"]) == (409, "conflict_stale")
    assert len(await said(service, IdentityRebound)) == 1


async def test_rebind_by_two_at_once_happens_once(calls: Calls, service: Service) -> None:
    await calls.me("ann", "old")
    conflict_id = await calls.refused("ann", "new")
    answers = await asyncio.gather(*(calls.rebind(conflict_id) for _ in range(4)))
    assert sorted(one.status_code for one in answers) == [200, 409, 409, 409]
    assert len(await said(service, IdentityRebound)) == 1


async def test_rebind_of_what_has_changed_since_is_stale_until_it_is_seen_again(
    calls: Calls, service: Service
) -> None:
    await calls.me("ann", "old")
    stale = await calls.refused("ann", "new")
    other = await calls.refused("ann", "third")
    assert (await calls.rebind(other)).status_code == 200
    refused = await calls.rebind(stale)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict_stale")
    assert await calls.refused("ann", "new") == stale, "the same conflict, proven anew"
    assert (await calls.rebind(stale)).status_code == 200
    assert await rows(service) == {("old", ANN, True), ("third", ANN, True), ("new", ANN, False)}


async def test_rebind_where_the_claim_names_nobody_any_more_is_stale(calls: Calls, service: Service) -> None:
    await calls.me("ann", "old")
    conflict_id = await calls.refused("ann", "new")
    publish(service.context.policy, org.user("ann").model_copy(update={"user_name": "ann-b"}))
    assert (await calls.rebind(conflict_id)).json()["code"] == "conflict_stale"


async def test_rebind_of_oneself_is_refused_and_another_administrator_can(
    calls: Calls, service: Service
) -> None:
    admins = Membership.shards(org.group_id("admins"), (ROOT, "user-dora"))
    publish(service.context.policy, *admins)
    await calls.me("root")
    conflict_id = await calls.refused("root", "new")
    refused = await calls.rebind(conflict_id, "root")
    assert (refused.status_code, refused.json()["code"]) == (403, "own_binding")
    assert [one.code for one in await said(service, AuthzDenied) if isinstance(one, AuthzDenied)] == [
        "own_binding"
    ]
    assert (await calls.rebind(conflict_id, "dora")).status_code == 200
    assert (await calls.me("root", "new")).status_code == 200


async def test_administrator_who_was_rebound_administers_again_after_a_day(
    calls: Calls, service: Service, issuer: DevelopmentIssuer, clock: ManualClock
) -> None:
    admins = Membership.shards(org.group_id("admins"), (ROOT, "user-dora"))
    publish(service.context.policy, *admins)
    await calls.me("ann", "old")
    anns = await calls.refused("ann", "new")
    await calls.me("root")
    await calls.rebind(await calls.refused("root", "s-root"), "dora")
    clock.advance(DAY - timedelta(seconds=1))
    async with api(service, issuer, "root", sub="s-root") as client:
        path = f"/v1/bindings/{anns}/rebind"
        refused = await client.post(path, json=REASON)
        assert (refused.status_code, refused.json()["code"]) == (403, "recently_rebound")
        assert "2026-03-03 09:00" in refused.json()["detail"]
        me = (await client.get("/v1/me")).json()
        assert "config.write" not in me["administer"]
        assert "terminate" in me["administer"]
        stop = {"user_id": ANN, "reason": "the laptop was stolen"}
        assert (await client.post("/v1/revocations", json=stop)).status_code == 200
        assert (await client.get("/v1/bindings/conflicts")).status_code == 200
        clock.advance(timedelta(seconds=1))
        assert (await client.post(path, json=REASON)).status_code == 200
        assert (await client.get("/v1/me")).json()["quiet_until"] is None


async def test_rebind_of_nothing_or_without_a_reason_is_refused(calls: Calls) -> None:
    assert (await calls.rebind(new_id())).json()["code"] == "conflict_unknown"
    await calls.me("ann", "old")
    conflict_id = await calls.refused("ann", "new")
    answer = await calls.rebind(conflict_id, body={"reason": "no"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "/reason")
    assert (await calls.rebind(conflict_id, "ann")).json()["code"] == "not_permitted"
