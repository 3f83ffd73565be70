"""The routes, by real tokens: whose grants one sees, who may revoke, and that a stop needs no broker."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from local.issuer import DevelopmentIssuer
from services.provisioner import views
from services.provisioner.__main__ import build
from services.provisioner.domain.claims import ClaimState
from services.provisioner.domain.inventory import GUARD
from services.provisioner.http.inventory import router
from services.provisioner.identity_center.calls import unlimited
from services.provisioner.inventory.sync import InventorySync
from services.provisioner.settings import ProvisionerSettings
from shared.contracts import access
from shared.contracts import documents as doc
from shared.contracts.configuration import InventoryConfirmed
from shared.documents import document_store
from shared.foundation.clock import ManualClock
from shared.runtime.service import Process, Service
from tests.support import organisation as org
from tests.support.harness import NOW, publish, ready_tables, said, with_pool
from tests.support.http import api, issuer_server, trusted
from tests.support.provisioner_lab import Lab, Premises, begin_anew, connected, laboratory
from tests.support.signing import key_settings
from tests.support.units import unit


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevelopmentIssuer]:
    data: Path = tmp_path_factory.mktemp("issuer")
    with issuer_server(data) as issuer:
        yield issuer


@pytest.fixture
async def service(shared_premises: Premises, issuer: DevelopmentIssuer) -> AsyncIterator[Service]:
    """On the small organisation of the policy tests, with ann's, bob's and eve's grants in its database."""
    await begin_anew(shared_premises.admin_dsn, shared_premises.dsn)
    shared_premises.aws.reset()
    clock = shared_premises.aws_clock.clock = ManualClock(NOW)
    settings = ProvisionerSettings(
        env="development", database_url=SecretStr(shared_premises.dsn), replica="http",
        **key_settings("provisioner"),
        issuers=(trusted(issuer),), role_admin=(org.group_id("admins"),),
        role_auditor=(org.group_id("auditors"),), calls_per_second=None,
    )  # fmt: skip
    service = build(
        settings,
        process=Process(clock, ready_tables(clock)),
        identity_center=lambda _settings, limiter: connected(shared_premises.aws, limiter),
    )
    async with with_pool(service):
        for number, (name, account, state) in enumerate(
            [("ann", org.D, "active"), ("ann", org.P, "scheduled"), ("bob", org.D, "active"),
             ("eve", org.D, "revoked"), ("ann", org.D, "active")], start=1,
        ):  # fmt: skip
            await stored(service, f"grant-{number}", name, account, state)
        yield service


def ticket_of(grant_id: str) -> str:
    return f"0190a000-0000-7000-8000-{int(grant_id.removeprefix('grant-')):012}"


async def stored(service: Service, grant_id: str, name: str, account: str, state: str) -> None:
    assignment_id = await service.context.pool.fetchval(
        """
        INSERT INTO assignment (instance, user_id, account_id, set_id, set_arn, observed, ours)
        VALUES ('default', $1, $2, $3, 'arn', 'present', true)
        ON CONFLICT (instance, user_id, account_id, set_id) DO UPDATE SET set_arn = 'arn' RETURNING id
        """,
        org.user_id(name), account, org.ADMIN,
    )  # fmt: skip
    await service.context.pool.execute(
        """
        INSERT INTO claim (id, assignment_id, instance, ticket_id, target_id, revision, subject_id, user_id,
            account_id, set_id, set_digest, content_hash, session_duration, starts_at, ends_at, state,
            received_at)
        VALUES ($1, $2, 'default', $3, 'target', 1, 'subject', $4, $5, $6, 'd', 'h', interval '1 hour',
            $7, $7::timestamptz + interval '8 hours', $8, $7)
        """,
        grant_id, assignment_id, ticket_of(grant_id), org.user_id(name), account, org.ADMIN, NOW, state,
    )  # fmt: skip


async def listed(service: Service, issuer: DevelopmentIssuer, who: str, query: str = "") -> list[str]:
    async with api(service, issuer, who) as client:
        answer = await client.get(f"/v1/grants{query}")
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("ann", ["grant-5", "grant-2", "grant-1"]),
        ("bob", ["grant-3"]),
        ("carl", []),
        ("root", ["grant-5", "grant-4", "grant-3", "grant-2", "grant-1"]),
        ("aud", ["grant-5", "grant-4", "grant-3", "grant-2", "grant-1"]),
    ],
)
async def test_list_shows_ones_own_and_everything_to_who_reads_tickets(
    service: Service, issuer: DevelopmentIssuer, who: str, expected: list[str]
) -> None:
    assert await listed(service, issuer, who) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"?ticket_id={ticket_of('grant-3')}", ["grant-3"]),
        (f"?account_id={org.P}", ["grant-2"]),
        (f"?user_id={org.user_id('eve')}", ["grant-4"]),
        ("?account_id=prod-payments", ["grant-2"]),
        ("?user_id=eve", ["grant-4"]),
        ("?user_id=Eve@example.com", ["grant-4"]),
        ("?state=revoked&state=scheduled", ["grant-4", "grant-2"]),
    ],
)
async def test_list_filters(
    service: Service, issuer: DevelopmentIssuer, query: str, expected: list[str]
) -> None:
    assert await listed(service, issuer, "aud", query) == expected


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("?user_id=evee", ("user_id", "user_unknown", "did you mean eve (user-eve)?")),
        ("?account_id=prod-paymnts", ("account_id", "account_unknown", "did you mean prod-payments")),
    ],
)
async def test_list_by_a_name_that_nothing_has_is_refused_with_the_nearest(
    service: Service, issuer: DevelopmentIssuer, query: str, problem: tuple[str, str, str]
) -> None:
    async with api(service, issuer, "aud") as client:
        answer = await client.get(f"/v1/grants{query}")
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["field"], error["code"]) == problem[:2]
    assert problem[2] in error["detail"]


async def test_list_by_the_id_of_what_is_gone_finds_its_grants(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    policy = service.context.policy
    for document in (org.user("eve"), doc.Account(id=org.P, name="prod-payments", state="ACTIVE")):
        publish(policy, document.model_copy(update={"deleted": True}))
    assert await listed(service, issuer, "aud", f"?user_id={org.user_id('eve')}") == ["grant-4"]
    assert await listed(service, issuer, "aud", f"?account_id={org.P}") == ["grant-2"]
    async with api(service, issuer, "aud") as client:
        (grant,) = (await client.get(f"/v1/grants?account_id={org.P}")).json()["items"]
    assert (grant["user_name"], grant["account_name"], grant["set_name"]) == (
        "ann", org.P, "Administrator",
    )  # fmt: skip


async def test_list_while_the_policy_is_not_there_takes_ids_and_waits_for_names(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    service.context.policy.catching_up = True
    publish(service.context.policy, doc.Account(id=org.S, name="prod-cards", state="ACTIVE"))
    assert await listed(service, issuer, "aud", f"?account_id={org.P}&user_id=user-ann") == ["grant-2"]
    async with api(service, issuer, "aud") as client:
        answer = await client.get("/v1/grants?account_id=nothing-like-it")
    assert answer.status_code == 503


async def test_list_of_another_persons_grants_is_empty_for_who_may_not_see_them(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    assert await listed(service, issuer, "ann", f"?user_id={org.user_id('bob')}") == []


async def test_list_pages_by_cursor(service: Service, issuer: DevelopmentIssuer) -> None:
    async with api(service, issuer, "aud") as client:
        first = (await client.get("/v1/grants?limit=2")).json()
        second = (await client.get(f"/v1/grants?limit=2&cursor={first['next_cursor']}")).json()
        third = (await client.get(f"/v1/grants?limit=2&cursor={second['next_cursor']}")).json()
    pages = [[item["id"] for item in page["items"]] for page in (first, second, third)]
    assert pages == [["grant-5", "grant-4"], ["grant-3", "grant-2"], ["grant-1"]]
    assert third["next_cursor"] is None


@pytest.mark.parametrize(
    ("who", "grant", "status"),
    [
        ("ann", "grant-1", 200),
        ("bob", "grant-1", 200),  # an approver of the account's rule
        ("carl", "grant-1", 404),
        ("carl", "grant-2", 200),
        ("aud", "grant-1", 200),
        ("ann", "grant-3", 404),
        ("ann", "nothing", 404),
    ],
)
async def test_read_one_is_404_for_who_may_not_see_it(
    service: Service, issuer: DevelopmentIssuer, who: str, grant: str, status: int
) -> None:
    async with api(service, issuer, who) as client:
        answer = await client.get(f"/v1/grants/{grant}")
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["observed"] == "present"


async def revoke(service: Service, issuer: DevelopmentIssuer, who: str | None, **body: Any) -> Any:
    async with api(service, issuer, who) as client:
        return await client.post("/v1/revocations", json={"reason": "laptop was stolen"} | body)


@pytest.mark.parametrize(("who", "status"), [("ann", 403), ("carl", 403), ("aud", 403), (None, 401)])
async def test_revocation_by_who_may_not_is_refused(
    service: Service, issuer: DevelopmentIssuer, who: str | None, status: int
) -> None:
    answer = await revoke(service, issuer, who, user_id=org.user_id("ann"))
    assert answer.status_code == status
    assert not await said(service, access.AccessRevokeDue)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": "a good reason"}, ""),
        ({"user_id": "u", "ticket_id": "t"}, ""),
        ({"account_id": "12"}, "/account_id"),
        ({"user_id": "u", "reason": "short"}, "/reason"),
        ({"user_id": "u", "more": 1}, "/more"),
    ],
)
async def test_revocation_with_a_wrong_body_names_the_field(
    service: Service, issuer: DevelopmentIssuer, body: dict[str, Any], field: str
) -> None:
    answer = await revoke(service, issuer, "root", **body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_revocation_of_a_user_ends_everything_of_theirs(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    answer = await revoke(service, issuer, "root", user_id=org.user_id("ann"))
    assert answer.status_code == 200
    body = answer.json()
    assert {(item["id"], item["state"]) for item in body["ended"]} == {
        ("grant-1", "revoking"), ("grant-2", "failed"), ("grant-5", "revoking"),
    }  # fmt: skip
    [remaining] = body["remaining"]
    assert remaining["why"] == "being_revoked"
    due = [fact for fact in await said(service) if isinstance(fact, access.AccessRevokeDue)]
    assert {fact.cause_of_end for fact in due} == {"revoked_by_operator"}
    assert {(fact.actor.name, fact.why) for fact in due} == {("root", "laptop was stolen")}


async def test_revocation_of_a_ticket_says_what_keeps_the_access(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    answer = await revoke(service, issuer, "root", ticket_id=ticket_of("grant-1"))
    [ended], [remaining] = answer.json()["ended"], answer.json()["remaining"]
    assert ended["id"] == "grant-1"
    assert (remaining["why"], remaining["kept_by"]) == ("kept", ["grant-5"])


@pytest.mark.parametrize(
    ("body", "code"),
    [({"user_id": "ann"}, "user_unknown"), ({"account_id": "000000000000"}, "account_unknown")],
)
async def test_revocation_of_what_nobody_knows_does_not_read_as_done(
    service: Service, issuer: DevelopmentIssuer, body: dict[str, str], code: str
) -> None:
    answer = await revoke(service, issuer, "root", **body)
    assert (answer.status_code, answer.json()["code"]) == (404, code)


async def test_revocation_of_a_ticket_nobody_knows_says_that_nothing_was_live(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    answer = await revoke(service, issuer, "root", ticket_id="not-there")
    assert answer.status_code == 200
    assert answer.json()["note"].startswith("nothing was live; what was asked for before now is stopped")


async def test_revocation_of_an_account_ends_everybodys(service: Service, issuer: DevelopmentIssuer) -> None:
    answer = await revoke(service, issuer, "root", account_id=org.D)
    assert {item["id"] for item in answer.json()["ended"]} == {"grant-1", "grant-3", "grant-5"}


async def test_revocation_twice_with_one_key_has_one_effect(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    async with api(service, issuer, "root", headers={"Idempotency-Key": "k"}) as client:
        body = {"reason": "laptop was stolen", "account_id": org.D}
        first, second = [await client.post("/v1/revocations", json=body) for _ in range(2)]
    assert first.json() == second.json()
    assert second.headers["Idempotency-Replayed"] == "true"


async def test_revocation_works_without_fresh_tables(service: Service, issuer: DevelopmentIssuer) -> None:
    for copy in service.context.policy._copies.values():
        copy.verified = False
    answer = await revoke(service, issuer, "root", user_id=org.user_id("bob"))
    assert answer.status_code == 200
    assert len(answer.json()["ended"]) == 1


@pytest.mark.parametrize(
    ("who", "seen"), [("root", 5), ("aud", 5), ("ann", 3), ("bob", 1)]
)  # fmt: skip
async def test_grants_are_seen_while_the_policy_is_not_ready(
    service: Service, issuer: DevelopmentIssuer, who: str, seen: int
) -> None:
    lose_the_policy(service)
    assert len(await listed(service, issuer, who)) == seen


@pytest.mark.parametrize(("who", "status"), [("root", 200), ("ann", 200), ("carl", 404)])
async def test_grant_is_read_while_the_policy_is_not_ready(
    service: Service, issuer: DevelopmentIssuer, who: str, status: int
) -> None:
    lose_the_policy(service)
    async with api(service, issuer, who) as client:
        assert (await client.get("/v1/grants/grant-1")).status_code == status


@pytest.mark.parametrize(("who", "status"), [("root", 200), ("aud", 200), ("ann", 503)])
async def test_operations_are_read_while_the_policy_is_not_ready(
    service: Service, issuer: DevelopmentIssuer, who: str, status: int
) -> None:
    lose_the_policy(service)
    async with api(service, issuer, who) as client:
        assert (await client.get("/v1/operations")).status_code == status


def lose_the_policy(service: Service) -> None:
    """As after a start without the broker: of the tables only people are known."""
    for copy in service.context.policy._copies.values():
        copy.verified = False


async def test_revocation_of_a_ticket_stops_its_approval_that_comes_later(
    shared_premises: Premises, issuer: DevelopmentIssuer, service: Service
) -> None:
    async with laboratory(shared_premises) as lab:
        ticket = lab.ticket(seconds=600)
        answer = await revoke(service, issuer, "root", ticket_id=ticket.id)
        assert answer.status_code == 200
        await lab.approve(ticket)
        await lab.run(30)
        assert await lab.story(ticket) == [
            "revoke_due(revoked_by_operator)", "failed(revoked_by_operator)",
        ]  # fmt: skip
        assert not lab.aws.records.calls


@pytest.mark.parametrize(("who", "status"), [("root", 200), ("aud", 200), ("ann", 403)])
async def test_operations_are_for_who_operates(
    service: Service, issuer: DevelopmentIssuer, who: str, status: int
) -> None:
    async with api(service, issuer, who) as client:
        answer = await client.get("/v1/operations")
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["grants"] == {"active": 3, "scheduled": 1}
        assert answer.json()["active"] is False


async def test_inventory_sync_on_a_standby_says_so(service: Service, issuer: DevelopmentIssuer) -> None:
    async with api(service, issuer, "root") as client:
        answer = await client.post("/v1/inventory/sync", json={})
    assert (answer.status_code, answer.json()["code"]) == (503, "standby")


@asynccontextmanager
async def reading(
    shared_premises: Premises, issuer: DevelopmentIssuer
) -> AsyncIterator[tuple[Lab, httpx2.AsyncClient]]:
    """An administrator's client, with a key, of a service that may read AWS without the lease."""
    async with laboratory(shared_premises, issuers=(trusted(issuer),)) as lab:
        lab.replace_members(org.group_id("admins"), lab.user("carl"))
        centre = connected(shared_premises.aws, unlimited)
        lab.service.app.include_router(router(lab.context, InventorySync(centre), GUARD), prefix="/reading")
        async with api(lab.service, issuer, "carl", headers={"Idempotency-Key": "k"}) as client:
            yield lab, client
        await centre.close()


@pytest.fixture
async def reader(shared_premises: Premises, issuer: DevelopmentIssuer) -> AsyncIterator[httpx2.AsyncClient]:
    async with reading(shared_premises, issuer) as (_, client):
        yield client


SYNC = "/reading/v1/inventory/sync"
CONFIRM = "/reading/v1/inventory/confirm"


async def test_inventory_sync_again_with_its_key_is_answered_without_reading_aws(
    shared_premises: Premises, reader: httpx2.AsyncClient
) -> None:
    first = await reader.post(SYNC, json={})
    calls = len(shared_premises.aws.records.calls)
    second = await reader.post(SYNC, json={})
    assert (first.status_code, second.status_code) == (200, 200), second.text
    assert first.json() == second.json()
    assert first.json()["changed"] > 0
    assert second.headers["Idempotency-Replayed"] == "true"
    assert len(shared_premises.aws.records.calls) == calls > 0


async def test_inventory_sync_twice_at_once_with_one_key_reads_aws_once(
    shared_premises: Premises, reader: httpx2.AsyncClient
) -> None:
    both = await asyncio.gather(*(reader.post(SYNC, json={}) for _ in range(2)))
    assert [answer.status_code for answer in both] == [200, 200]
    assert both[0].json() == both[1].json()
    listed = [row for row in shared_premises.aws.records.calls if row["operation"] == "DescribeOrganization"]
    assert len(listed) == 1


async def test_inventory_sync_with_the_key_of_another_request_is_refused_before_aws_is_read(
    shared_premises: Premises, reader: httpx2.AsyncClient
) -> None:
    await reader.post(SYNC, json={})
    calls = len(shared_premises.aws.records.calls)
    answer = await reader.post(CONFIRM, json={"hold": "another", "reason": "another request than the first"})
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_reused")
    assert len(shared_premises.aws.records.calls) == calls


async def test_operations_name_the_engine_and_what_is_in_flight(lab: Lab) -> None:
    await lab.approve(lab.ticket())
    await lab.run(0)
    async with lab.context.pool.acquire() as conn:
        shown = await views.operations(conn, now=lab.now)
    assert (shown["engine"]["holder"], shown["engine"]["epoch"], shown["active"]) == ("one", 1, True)
    assert [(flight["kind"], flight["account_id"]) for flight in shown["in_flight"]] == [
        ("create", lab.account())
    ]


async def test_inventory_confirm_takes_over_what_was_shown_and_says_who_believed_it(
    shared_premises: Premises, issuer: DevelopmentIssuer
) -> None:
    async with reading(shared_premises, issuer) as (lab, client):
        users = [doc.User(id=f"gone-{number}", user_name=f"gone-{number}") for number in range(40)]
        async with unit(lab.context.pool) as work:
            await document_store.put(work, "provisioner", *users, at=lab.context.clock.now())
        answered = (await client.post(SYNC, json={}, headers={"Idempotency-Key": "first"})).json()
        assert "40 of " in answered["held"]
        assert await lab.said(InventoryConfirmed) == []
        shown = (await client.get("/reading/v1/inventory")).json()
        assert (shown["held"]["hold"], shown["held"]["missing"]) == (answered["hold"], {"user": 40})
        body = {"hold": answered["hold"], "reason": "the contractors of last year"}
        refused = await client.post(
            CONFIRM, json={**body, "hold": "another"}, headers={"Idempotency-Key": "another"}
        )
        assert (refused.status_code, refused.json()["code"]) == (409, "hold_changed")
        calls = len(shared_premises.aws.records.calls)
        believed = (await client.post(CONFIRM, json=body)).json()
        assert (believed["held"], believed["hold"], believed["removed"]) == (None, None, 40)
        assert len(shared_premises.aws.records.calls) == calls
        again = await client.post(CONFIRM, json=body, headers={"Idempotency-Key": "again"})
        assert (again.status_code, again.json()["code"]) == (404, "nothing_held")
        (fact,) = await lab.said(InventoryConfirmed)
    assert (fact.actor.name, fact.removed) == ("carl", {"user": 40})
    assert fact.why == "40 disappeared at once, the contractors of last year"


async def test_list_in_any_set_of_states_has_the_grants_in_them(service: Service) -> None:
    for number, state in enumerate(ClaimState, 10):
        await stored(service, f"grant-{number}", "ann", org.D, state)
    wanted = {"user_id": None, "ticket_id": None, "account_id": None, "after": None, "limit": 50}
    for states in (
        *([one] for one in ClaimState),
        ["active", "waiting"],
        ["active", "failed"],
        list(ClaimState),
    ):
        async with service.context.pool.acquire() as conn:
            found = await views.grants(conn, states=states, **wanted)
            known = await conn.fetch("SELECT id FROM claim WHERE state = ANY($1) ORDER BY id DESC", states)
        assert [one["id"] for one in found] == [row["id"] for row in known]
        assert known


async def test_list_by_each_set_of_person_account_and_ticket_has_what_fits(service: Service) -> None:
    people = (None, org.user_id("ann"), org.user_id("bob"))
    for whose, account, ticket, after in itertools.product(
        people, (None, org.D, org.P), (None, ticket_of("grant-1")), (None, "grant-4")
    ):
        async with service.context.pool.acquire() as conn:
            found = await views.grants(
                conn, user_id=whose, account_id=account, ticket_id=ticket, states=None, after=after, limit=2
            )
            known = await conn.fetch("SELECT id, user_id, account_id, ticket_id FROM claim ORDER BY id DESC")
        expected = [
            row["id"]
            for row in known
            if whose in {None, row["user_id"]}
            and account in {None, row["account_id"]}
            and ticket in {None, row["ticket_id"]}
            and (after is None or row["id"] < after)
        ]
        assert [one["id"] for one in found] == expected[:2]
