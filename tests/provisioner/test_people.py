"""Who one is, and finding people, groups, OUs and tags: by real tokens, on the small organisation."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.issuer import DevelopmentIssuer
from services.provisioner.__main__ import build
from services.provisioner.domain import directory
from services.provisioner.settings import ProvisionerSettings
from shared.contracts import documents as doc
from shared.foundation.clock import ManualClock
from shared.foundation.environment import read
from shared.policy.snapshot import Snapshot
from shared.runtime.service import Process, Service
from tests.support import organisation as org
from tests.support.harness import NOW, publish, ready_tables, service_database, with_pool
from tests.support.http import api, issuer_server, trusted
from tests.support.signing import key_settings


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevelopmentIssuer]:
    with issuer_server(tmp_path_factory.mktemp("issuer")) as issuer:
        yield issuer


@pytest.fixture(scope="module")
async def dsn(admin_dsn: str) -> AsyncIterator[str]:
    async with service_database(admin_dsn, "provisioner") as dsn:
        yield dsn


@pytest.fixture
async def service(dsn: str, issuer: DevelopmentIssuer) -> AsyncIterator[Service]:
    clock = ManualClock(NOW)
    made = read(
        ProvisionerSettings,
        env="development",
        database_url=dsn,
        issuers=(trusted(issuer),),
        **key_settings("provisioner"),
    )
    async with with_pool(build(made, process=Process(clock, ready_tables(clock)))) as service:
        yield service


async def got(service: Service, issuer: DevelopmentIssuer, who: str, path: str, **query: Any) -> Any:
    async with api(service, issuer, who) as client:
        answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def names(
    service: Service, issuer: DevelopmentIssuer, path: str, field: str = "name", **query: Any
) -> list[str]:
    return [one[field] for one in (await got(service, issuer, "root", path, **query))["items"]]


async def test_me_of_a_plain_person(service: Service, issuer: DevelopmentIssuer) -> None:
    me = await got(service, issuer, "ann", "/v1/me")
    assert (me["id"], me["user_name"], me["display_name"], me["email"]) == (
        "user-ann", "ann", "Ann", "ann@example.com",
    )  # fmt: skip
    assert me["groups"] == [{"id": "group-dev", "name": "dev"}]
    assert (me["roles"], me["decide"], me["administer"]) == ([], [], [])
    assert [scope["id"] for scope in me["request"]] == ["dev-admin", "prod-admin", "read"]
    assert not me["request_for_others"]
    prod = me["request"][1]
    assert (prod["sets"], prod["sets_name"]) == (f"ps:{org.ADMIN}", "Administrator")
    assert prod["max_duration"] == "PT1H"


async def test_me_of_whoever_decides_requests_for_others_or_administers(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    carl = await got(service, issuer, "carl", "/v1/me")
    assert [(one["rule"], one["stage"], one["needed"]) for one in carl["decide"]] == [("prod", 1, 1)]
    assert (await got(service, issuer, "bob", "/v1/me"))["request_for_others"]
    root = await got(service, issuer, "root", "/v1/me")
    assert root["roles"] == ["admin"]
    assert root["administer"] == [
        "audit.read", "config.read", "config.write", "ops.read", "ops.write", "terminate", "ticket.read",
    ]  # fmt: skip
    aud = await got(service, issuer, "aud", "/v1/me")
    assert "config.write" not in aud["administer"]
    assert aud["request"] == []
    eve = await got(service, issuer, "eve", "/v1/me")
    assert ("no-contractors", "deny") in [(one["id"], one["effect"]) for one in eve["request"]]


async def test_me_names_no_scope_that_is_not_in_force(service: Service, issuer: DevelopmentIssuer) -> None:
    policy = service.context.policy
    dates: list[dict[str, Any]] = [
        {"valid_from": NOW.replace(hour=10)}, {"valid_until": NOW}, {"valid_until": NOW.replace(hour=10)},
    ]  # fmt: skip
    for number, when in enumerate(dates):
        publish(policy, org.scope(f"s{number}", "dev", "*", "*", 1, **when))
    me = await got(service, issuer, "ann", "/v1/me")
    assert [one["id"] for one in me["request"] if one["id"].startswith("s")] == ["s2"]


async def test_me_tells_no_name_of_an_account_that_is_not_registered(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    for account in (org.MANAGEMENT, org.P):
        publish(service.context.policy, org.scope(f"one-{account}", "dev", f"acct:{account}", "*", 1))
    me = await got(service, issuer, "ann", "/v1/me")
    told = {one["accounts"]: one["accounts_name"] for one in me["request"]}
    assert told[f"acct:{org.P}"] == "prod-payments"
    assert told[f"acct:{org.MANAGEMENT}"] is None


async def test_me_with_very_much_is_bounded_and_counted(service: Service, issuer: DevelopmentIssuer) -> None:
    for number in range(250):
        publish(service.context.policy, org.scope(f"s{number:03}", "dev", "*", "*", 1))
    me = await got(service, issuer, "ann", "/v1/me")
    assert len(me["request"]) == 200
    assert me["request_total"] == 253


async def test_my_targets_are_what_the_policy_allows(service: Service, issuer: DevelopmentIssuer) -> None:
    snapshot = service.context.policy.snapshot()
    for who in org.PEOPLE:
        if who == "gone":
            continue
        found = {
            (account["id"], one["id"]): one["longest"]
            for account in (await got(service, issuer, who, "/v1/me/targets"))["items"]
            for one in account["sets"]
        }
        allowed = {
            (account, wanted)
            for account in (org.P, org.S, org.D)
            for wanted in (org.ADMIN, org.READ, org.LONG)
            if snapshot.longest(org.user_id(who), "request", account, wanted, now=NOW)
        }
        assert set(found) == allowed, who
        if who == "ann":
            assert found[org.P, org.ADMIN] == "PT1H"
            assert found[org.D, org.ADMIN] == "PT8H"
            assert found[org.D, org.READ] == "P1D"


async def test_my_targets_come_in_pages_without_what_cannot_be_asked_for(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    for document in (
        doc.RegisteredAccount(id=org.MANAGEMENT),
        doc.RegisteredAccount(id=org.SUSPENDED),
        doc.RegisteredAccount(id="888888888888"),
    ):
        publish(service.context.policy, document)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(5):
        page = await got(service, issuer, "ann", "/v1/me/targets", limit=1, **cursor)
        seen += [account["name"] for account in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    # The suspended one and the one that AWS does not have are left out.
    assert seen == ["prod-payments", "dev-web", "prod-cards", "management"]


@pytest.mark.parametrize(
    ("who", "open_to"),
    [("ann", ()), ("carl", ()), ("bob", ("users",)), ("root", ("users", "groups", "ous", "tags")),
     ("aud", ("users", "groups", "ous", "tags"))],
)  # fmt: skip
async def test_who_may_look_for_what(
    service: Service, issuer: DevelopmentIssuer, who: str, open_to: tuple[str, ...]
) -> None:
    async with api(service, issuer, who) as client:
        for path in ("users", "groups", "ous", "tags"):
            answer = await client.get(f"/v1/{path}", params={"name": "d"})
            assert answer.status_code == (200 if path in open_to else 403), path
            if answer.status_code == 403:
                assert answer.json()["code"] == "not_permitted"
                assert any(word in answer.json()["detail"] for word in ("config.read", "request for others"))


@pytest.mark.parametrize(
    ("path", "query", "found"),
    [
        ("/v1/users", {"name": "CA"}, ["carl"]),
        ("/v1/users", {"name": "dora@"}, ["dora"]),
        ("/v1/users", {"name": "Bo"}, ["bob"]),
        ("/v1/users", {"name": "example"}, []),
        ("/v1/users", {}, sorted(org.PEOPLE)),
        ("/v1/groups", {"name": "man"}, ["managers"]),
        ("/v1/ous", {"name": "PROD"}, ["prod"]),
        ("/v1/tags", {"name": "env=p"}, ["tag:env=prod"]),
        ("/v1/tags", {}, ["tag:env=dev", "tag:env=prod", "tag:pci=yes"]),
    ],
)
async def test_what_begins_so_is_found(
    service: Service, issuer: DevelopmentIssuer, path: str, query: dict[str, str], found: list[str]
) -> None:
    field = {"/v1/users": "user_name", "/v1/tags": "selector"}.get(path, "name")
    assert await names(service, issuer, path, field, **query) == found


async def test_what_is_found_has_what_a_rule_needs(service: Service, issuer: DevelopmentIssuer) -> None:
    (unit,) = (await got(service, issuer, "root", "/v1/ous", name="prod"))["items"]
    assert unit == {"id": org.OU_PROD, "name": "prod", "parent": org.ROOT, "path": ["Root", "prod"]}
    (tag,) = (await got(service, issuer, "root", "/v1/tags", name="env=prod"))["items"]
    assert tag == {"key": "env", "value": "prod", "selector": "tag:env=prod", "accounts": 2}
    (group,) = (await got(service, issuer, "root", "/v1/groups", name="dev"))["items"]
    assert group == {"id": "group-dev", "name": "dev", "members": 4}
    (gone,) = (await got(service, issuer, "root", "/v1/users", name="gone"))["items"]
    assert not gone["enabled"]


async def test_a_misspelled_parameter_is_refused(service: Service, issuer: DevelopmentIssuer) -> None:
    async with api(service, issuer, "root") as client:
        answer = await client.get("/v1/users", params={"nmae": "c"})
    assert answer.status_code == 422
    assert "did you mean name?" in answer.json()["errors"][0]["detail"]


async def test_a_cursor_of_somebody_who_is_gone_says_to_begin_again(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    """Of who is deleted no name is kept, so their place in the list is not known any more."""
    page = await got(service, issuer, "root", "/v1/users", limit=3)
    assert [one["user_name"] for one in page["items"]] == ["ann", "aud", "bob"]
    publish(service.context.policy, org.user("bob").model_copy(update={"deleted": True}))
    async with api(service, issuer, "root") as client:
        answer = await client.get("/v1/users", params={"cursor": page["next_cursor"]})
    assert (answer.status_code, answer.json()["code"]) == (422, "cursor_gone")


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from(["x", "X", "xy", "Xy", "y"])),
    st.sampled_from(["", "x", "XY"]),
    st.integers(1, 4),
)
def test_pages_hold_everything_that_begins_so_once(called: dict[str, str], wanted: str, limit: int) -> None:
    snapshot = Snapshot.of({}, [doc.Group(id=one, name=name) for one, name in called.items()])
    seen: list[doc.Group] = []
    while page := directory.find_groups(snapshot, wanted, after=seen[-1].id if seen else None, limit=limit):
        seen += page
    expected = {one for one, name in called.items() if name.lower().startswith(wanted.lower())}
    assert len(seen) == len(expected)
    assert {one.id for one in seen} == expected
    assert [one.name.lower() for one in seen] == sorted(one.name.lower() for one in seen)


def test_a_circle_of_units_has_a_path_too() -> None:
    units = [doc.OrganizationalUnit(id=one, name=one, parent=other) for one, other in ("ab", "ba")]
    assert directory.path_of(Snapshot.of({}, units), units[0])[-1] == "a"
