import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from shared.contracts.documents import ExternalId, User
from shared.database.pool import Pool, create_pool
from shared.foundation.errors import Forbidden, NotReady
from shared.identity.bindings import Bindings, Principal, bind
from shared.identity.tokens import Claims
from shared.policy.snapshot import Snapshot
from tests.support.harness import service_database

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ISSUER = "https://idp.example.com"
ANN = Claims(
    iss=ISSUER,
    sub="s-ann",
    lookup="user_name",
    lookup_value="ann",
    external_id_issuer="https://scim.example.com",
    client="portal",
    auth_time=NOW,
    acr="mfa",
)


class Raised:
    """Keeps the alerts that were raised."""

    def __init__(self) -> None:
        self.details: list[str] = []

    async def raise_alert(self, *, key: str, summary: str, detail: str, once: bool = False) -> None:
        self.details.append(detail)


@pytest.fixture(scope="module")
async def database(admin_dsn: str) -> AsyncIterator[Pool]:
    async with service_database(admin_dsn, "ticket") as dsn:
        pool = await create_pool(dsn, size=8)
        yield pool
        await pool.close()


@pytest.fixture
async def pool(database: Pool, admin_dsn: str) -> Pool:
    """The app role cannot delete bindings, so each test begins with an issuer nobody has seen."""
    name = await database.fetchval("SELECT current_database()")
    admin = await asyncpg.connect(admin_dsn, database=name)
    await admin.execute("DELETE FROM subject_binding")
    await admin.close()
    return database


@pytest.fixture
def alerts() -> Raised:
    return Raised()


def user(user_id: str, name: str, *, email: str = "", revision: int = 1, enabled: bool = True) -> User:
    external = (ExternalId(issuer="https://scim.example.com", id=f"ext-{user_id}"),)
    return User(
        id=user_id,
        revision=revision,
        user_name=name,
        email=email or f"{name}@x.io",
        enabled=enabled,
        external_ids=external,
    )


def world() -> Snapshot:
    people = (user("u-ann", "ann"), user("u-bob", "bob"), user("u-off", "off", enabled=False))
    return Snapshot.of(documents=people)


async def refusal(pool: Pool, claims: Claims, people: Snapshot, alerts: Raised) -> str:
    with pytest.raises(Forbidden) as raised:
        await bind(pool, claims, people, NOW, alerts=alerts)
    return raised.value.code


async def bound(pool: Pool) -> set[tuple[str, str, str]]:
    rows = await pool.fetch("SELECT iss, sub, user_id FROM subject_binding")
    return {(row["iss"], row["sub"], row["user_id"]) for row in rows}


async def test_bind_at_first_sight_stores_the_user_and_names_the_actor(pool: Pool, alerts: Raised) -> None:
    principal = await bind(pool, ANN, world(), NOW, alerts=alerts)
    assert principal.user.id == "u-ann"
    assert principal.actor.model_dump(exclude_none=True) == {
        "kind": "person",
        "name": "ann",
        "user_id": "u-ann",
        "iss": ISSUER,
        "sub": "s-ann",
        "client": "portal",
        "auth_time": NOW,
        "acr": "mfa",
    }
    assert await bound(pool) == {(ISSUER, "s-ann", "u-ann")}
    assert await pool.fetchval("SELECT first_seen FROM subject_binding") == NOW
    later = NOW + timedelta(days=1)
    assert (await bind(pool, ANN, world(), later, alerts=alerts)).user.id == "u-ann"
    assert await pool.fetchval("SELECT first_seen FROM subject_binding") == NOW


@pytest.mark.parametrize(
    "claims",
    [
        ANN,
        replace(ANN, lookup_value="ANN"),
        replace(ANN, lookup="email", lookup_value="Ann@x.io"),
        replace(ANN, lookup="external_id", lookup_value="ext-u-ann"),
    ],
)
async def test_bind_finds_the_user_by_each_lookup(pool: Pool, alerts: Raised, claims: Claims) -> None:
    assert (await bind(pool, claims, world(), NOW, alerts=alerts)).user.id == "u-ann"


async def test_bind_of_nobody_two_or_a_disabled_user_is_refused(pool: Pool, alerts: Raised) -> None:
    people = world()
    assert await refusal(pool, replace(ANN, lookup_value="nobody"), people, alerts) == "identity_unknown"
    foreign = replace(ANN, lookup="external_id", lookup_value="ext-u-ann", external_id_issuer=ISSUER)
    assert await refusal(pool, foreign, people, alerts) == "identity_unknown"
    assert await refusal(pool, replace(ANN, lookup_value="off"), people, alerts) == "identity_disabled"
    people = people.replace(user("u-off", "off", email="ANN@x.io", revision=2, enabled=False))
    shared = replace(ANN, lookup="email", lookup_value="ann@x.io")
    assert await refusal(pool, shared, people, alerts) == "identity_ambiguous"
    assert await bound(pool) == set()
    assert not alerts.details


async def test_bind_of_a_known_subject_as_somebody_else_is_a_conflict(pool: Pool, alerts: Raised) -> None:
    await bind(pool, ANN, world(), NOW, alerts=alerts)
    assert await refusal(pool, replace(ANN, lookup_value="bob"), world(), alerts) == "identity_conflict"
    assert "s-ann is user u-ann" in alerts.details[0]
    assert await bound(pool) == {(ISSUER, "s-ann", "u-ann")}


async def test_bind_of_a_second_subject_to_a_user_is_a_conflict(pool: Pool, alerts: Raised) -> None:
    await bind(pool, ANN, world(), NOW, alerts=alerts)
    assert await refusal(pool, replace(ANN, sub="s-other"), world(), alerts) == "identity_conflict"
    assert len(alerts.details) == 1
    assert "subject s-other names user u-ann; stored: subject s-ann is user u-ann" in alerts.details[0]
    assert await bound(pool) == {(ISSUER, "s-ann", "u-ann")}


async def test_bind_of_a_reassigned_name_does_not_inherit(pool: Pool, alerts: Raised) -> None:
    people, bindings = world(), Bindings()
    for _ in range(2):
        await bind(pool, ANN, people, NOW, alerts=alerts, bindings=bindings)
    people = people.replace(user("u-ann", "ann-left", revision=2))
    people = people.replace(user("u-new", "ann", revision=3))
    with pytest.raises(Forbidden) as raised:
        await bind(pool, ANN, people, NOW, alerts=alerts, bindings=bindings)
    assert raised.value.code == "identity_conflict"


async def test_bind_of_the_same_subject_at_another_issuer_is_another_binding(
    pool: Pool, alerts: Raised
) -> None:
    await bind(pool, ANN, world(), NOW, alerts=alerts)
    await bind(pool, replace(ANN, iss="https://other"), world(), NOW, alerts=alerts)
    assert len(await bound(pool)) == 2


async def test_bind_of_many_first_requests_at_once_stores_one_winner(pool: Pool, alerts: Raised) -> None:
    people = world()
    claims = [replace(ANN, sub=f"s-{number % 2}") for number in range(12)]
    answers = await asyncio.gather(
        *(bind(pool, one, people, NOW, alerts=alerts) for one in claims), return_exceptions=True
    )
    [(_, winner, _)] = await bound(pool)
    for one, answer in zip(claims, answers, strict=True):
        assert isinstance(answer, Principal if one.sub == winner else Forbidden)


class Refuses:
    """A connection that must not be used."""

    async def fetch(self, query: str, *args: object) -> list[object]:
        raise AssertionError(query)

    async def execute(self, query: str, *args: object) -> str:
        raise AssertionError(query)


async def test_bind_of_a_known_caller_costs_no_query_but_sees_changes(pool: Pool, alerts: Raised) -> None:
    people, bindings = world(), Bindings()
    for _ in range(2):
        await bind(pool, ANN, people, NOW, alerts=alerts, bindings=bindings)
    principal = await bind(Refuses(), ANN, people, NOW, alerts=alerts, bindings=bindings)
    assert principal.user.id == "u-ann"
    people = people.replace(user("u-ann", "ann", revision=2, enabled=False))
    with pytest.raises(Forbidden):
        await bind(Refuses(), ANN, people, NOW, alerts=alerts, bindings=bindings)


async def test_bind_that_was_rolled_back_is_not_remembered(pool: Pool, alerts: Raised) -> None:
    bindings = Bindings()
    async with pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await bind(conn, ANN, world(), NOW, alerts=alerts, bindings=bindings)
        await transaction.rollback()
    assert not bindings.holds(ANN, "u-ann")
    assert await bound(pool) == set()


async def test_bind_before_the_inventory_is_read_is_not_ready(pool: Pool, alerts: Raised) -> None:
    people = world()
    people = replace(people, people_known=False)
    with pytest.raises(NotReady):
        await bind(pool, ANN, people, NOW, alerts=alerts)


async def test_the_service_cannot_change_or_remove_a_binding(pool: Pool, alerts: Raised) -> None:
    await bind(pool, ANN, world(), NOW, alerts=alerts)
    for statement in ("DELETE FROM subject_binding", "UPDATE subject_binding SET user_id = 'u-bob'"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)
