import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from httpx2 import AsyncClient, Response

from local.issuer import DevelopmentIssuer
from shared.contracts.access import AccessGranted
from shared.contracts.approval import ReviewApproved, ReviewDecided
from shared.contracts.configuration import AuthzDenied, facts_of
from shared.contracts.documents import ApprovalRule
from shared.contracts.ticket import TicketApproved, TicketSubmitted
from shared.runtime.service import Service
from tests.support import ocsf
from tests.support.audit_log import as_owner, keep, records
from tests.support.facts import TICKET_ID, example
from tests.support.harness import NOW
from tests.support.http import api
from tests.support.organisation import D, P, user_id

RULE_FACTS = facts_of(ApprovalRule)

OTHER_TICKET = "0195556a-0000-7000-8000-0000000000ff"
READINGS = (
    "/v1/audit/events",
    "/v1/audit/events/1",
    f"/v1/audit/tickets/{TICKET_ID}",
    "/v1/audit/export",
)


@pytest.fixture
async def log(service: Service) -> Service:
    """Sequence 1 to 4: a ticket of ann's on P asked for, approved and granted; a rule changed by root."""
    await keep(
        service,
        *(example(cls) for cls in (TicketSubmitted, TicketApproved, AccessGranted, RULE_FACTS.changed)),
    )
    return service


@pytest.fixture
async def aud(log: Service, issuer: DevelopmentIssuer) -> AsyncIterator[AsyncClient]:
    async with api(log, issuer, "aud") as client:
        yield client


def found(response: Response) -> list[int]:
    assert response.status_code == 200, response.text
    return [item["metadata"]["sequence"] for item in response.json()["items"]]


# who may

MATRIX = {
    "aud": (200, 200, 200, 200),
    "root": (200, 200, 200, 200),
    "ann": (403, 403, 200, 403),
    "bob": (403, 403, 404, 403),
    "carl": (403, 403, 404, 403),
    "gone": (403, 403, 403, 403),
    None: (401, 401, 401, 401),
}


@pytest.mark.parametrize("name", MATRIX, ids=str)
async def test_read_as_each_person_answers_as_the_matrix_says(
    log: Service, issuer: DevelopmentIssuer, name: str | None
) -> None:
    async with api(log, issuer, name) as client:
        answers = [(await client.get(path)).status_code for path in READINGS]
    assert tuple(answers) == MATRIX[name]


async def test_trail_of_own_ticket_tells_a_party_everything_and_nothing_else(
    log: Service, issuer: DevelopmentIssuer
) -> None:
    async with api(log, issuer, "ann") as client:
        assert found(await client.get(f"/v1/audit/tickets/{TICKET_ID}")) == [1, 2, 3]


WITHHELD = ("192.0.2.10", "sub-", "https://issuer.test", "group-owners-prod", '"acr"')


async def test_trail_tells_a_party_who_decided_but_not_from_where_and_by_which_rows(
    log: Service, issuer: DevelopmentIssuer
) -> None:
    """Of votes, of the witness that repeats them, of others' attempts, and of the party's own calls alike."""
    await keep(log, *(example(cls) for cls in (ReviewDecided, ReviewApproved, AuthzDenied)))
    path = f"/v1/audit/tickets/{TICKET_ID}"
    async with api(log, issuer, "ann") as client:
        own = await client.get(path)
    async with api(log, issuer, "aud") as client:
        whole = await client.get(path)
    assert found(own)[:6] == found(whole)[:6]
    texts = [json.dumps(item, separators=(",", ":")) for item in own.json()["items"][3:6]]
    stored = [json.dumps(item, separators=(",", ":")) for item in whole.json()["items"][3:6]]
    for secret in WITHHELD:
        assert any(secret in text for text in stored), f"{secret} proves nothing here"
    votes = [
        own.json()["items"][3]["entity"]["data"]["vote"],
        *own.json()["items"][4]["entity"]["data"]["votes"],
    ]
    assert [vote["voter"]["user_name"] for vote in votes] == ["carl", "carl"]
    assert not [key for vote in votes for key in vote if key in {"proof", "revisions"}]
    for text in texts:
        assert not [secret for secret in WITHHELD if secret in text], text
    assert [ocsf.problems(item) for item in own.json()["items"]] == [[]] * len(found(own))


async def test_trail_gives_an_auditor_the_stored_bytes(log: Service, aud: AsyncClient) -> None:
    await keep(log, example(ReviewDecided))
    answer = await aud.get(f"/v1/audit/tickets/{TICKET_ID}")
    stored = await log.context.pool.fetch(
        "SELECT ocsf FROM audit_event WHERE ticket_id = $1 ORDER BY sequence", TICKET_ID
    )
    assert len(stored) == 4
    assert (
        answer.content == b'{"items":[' + b",".join(row["ocsf"] for row in stored) + b'],"next_cursor":null}'
    )


async def test_trail_of_others_and_of_nobody_answer_alike_and_only_the_first_is_a_denial(
    log: Service, issuer: DevelopmentIssuer
) -> None:
    async with api(log, issuer, "bob") as client:
        others = await client.get(f"/v1/audit/tickets/{TICKET_ID}")
        nobodys = await client.get(f"/v1/audit/tickets/{OTHER_TICKET}")
    assert others.status_code == nobodys.status_code == 404
    assert others.json() == nobodys.json()
    denials = await records(log, "authz.denied")
    assert [denial["resources"][0]["uid"] for denial in denials] == [TICKET_ID]
    assert [denial["actor"]["user"]["uid"] for denial in denials] == [user_id("bob")]
    assert [problem for denial in denials for problem in ocsf.problems(denial)] == []


async def test_list_without_the_right_leaves_a_denial(log: Service, issuer: DevelopmentIssuer) -> None:
    async with api(log, issuer, "ann") as client:
        await client.get("/v1/audit/events")
    (denial,) = await records(log, "authz.denied")
    assert denial["api"]["operation"] == "audit.read"
    assert "correlation_uid" not in denial["metadata"]


async def test_trail_unknown_to_the_log_is_not_found_for_an_auditor(aud: AsyncClient) -> None:
    answer = await aud.get(f"/v1/audit/tickets/{OTHER_TICKET}")
    assert (answer.status_code, answer.json()["code"]) == (404, "trail_unknown")


# readings are recorded


@pytest.mark.parametrize(("path", "returned"), list(zip(READINGS, (4, 1, 3, 4), strict=True)))
async def test_read_leaves_one_record_of_who_looked_at_what(
    log: Service, aud: AsyncClient, path: str, returned: int
) -> None:
    assert (await aud.get(path)).status_code == 200
    (reading,) = await records(log, "audit.read")
    assert reading["actor"]["user"]["uid"] == user_id("aud")
    assert reading["unmapped"]["jit"]["returned"] == returned
    assert reading["unmapped"]["jit"]["query"]["route"] in path
    assert ocsf.problems(reading) == []


async def test_read_with_filters_records_them(log: Service, aud: AsyncClient) -> None:
    await aud.get("/v1/audit/events", params={"account_id": P, "since": NOW.isoformat()})
    (reading,) = await records(log, "audit.read")
    assert reading["unmapped"]["jit"]["query"] == {
        "route": "events", "after_sequence": "0", "account_id": P, "since": "2026-03-02 09:00:00+00:00",
    }  # fmt: skip


@pytest.mark.parametrize("path", READINGS)
async def test_read_that_cannot_be_recorded_shows_nothing(
    log: Service, aud: AsyncClient, admin_dsn: str, audit_dsn: str, path: str
) -> None:
    owner = await as_owner(admin_dsn, audit_dsn)
    await owner.execute("REVOKE EXECUTE ON FUNCTION append FROM jit_audit_app")
    try:
        answer = await aud.get(path)
    finally:
        await owner.execute("GRANT EXECUTE ON FUNCTION append TO jit_audit_app")
        await owner.close()
    assert (answer.status_code, answer.json()["code"]) == (503, "reading_unrecorded")
    assert TICKET_ID not in answer.text
    assert answer.headers["Retry-After"]


# filters and pages


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [1, 2, 3, 4]),
        ({"ticket_id": TICKET_ID}, [1, 2, 3]),
        ({"ticket_id": OTHER_TICKET}, []),
        ({"actor": user_id("ann")}, [1]),
        ({"actor": "ann"}, [1]),
        ({"actor": "ANN@example.com"}, [1]),
        ({"account_id": "prod-payments"}, [1, 2, 3]),
        ({"actor": "provisioner"}, [3]),
        ({"user_id": "ann"}, [1, 2, 3]),
        ({"user_id": user_id("root")}, [4]),
        ({"user_id": "carl"}, []),
        ({"user_id": "ann", "account_id": P, "type": "access.granted"}, [3]),
        ({"account_id": P}, [1, 2, 3]),
        ({"account_id": D}, []),
        ({"type": "ticket.approved"}, [2]),
        ({"since": "2026-03-02T09:10:00Z"}, [1, 2, 3, 4]),
        ({"since": "2026-03-02T09:10:00.000001Z"}, []),
        ({"until": "2026-03-02T10:10:00+01:00"}, []),
        ({"until": "2026-03-02T09:10:01Z"}, [1, 2, 3, 4]),
    ],
    ids=str,
)
async def test_list_with_filters_gives_what_matches_all(
    aud: AsyncClient, params: dict[str, Any], expected: list[int]
) -> None:
    assert found(await aud.get("/v1/audit/events", params=params)) == expected


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"type": "ticket.invented"}, "type"),
        ({"account_id": "prod"}, "account_id"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-03-02T09:10:00"}, "since"),
        ({"after_sequence": 2}, "after_sequence"),
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"actor": ""}, "actor"),
        ({"cursor": "zzz"}, "cursor"),
        ({"typ": "ticket.approved"}, "typ"),
    ],
    ids=str,
)
async def test_list_with_bad_filter_names_it(aud: AsyncClient, params: dict[str, Any], field: str) -> None:
    answer = await aud.get("/v1/audit/events", params=params)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("path", ["/v1/audit/events?actor=a%00b", "/v1/audit/tickets/a%00b"])
async def test_read_with_a_character_no_store_takes_is_malformed(aud: AsyncClient, path: str) -> None:
    assert (await aud.get(path)).status_code == 400


async def test_list_by_pages_gives_every_record_once_in_order(aud: AsyncClient) -> None:
    seen: list[int] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = await aud.get("/v1/audit/events", params=query)
        seen += found(page)
        query["cursor"] = page.json()["next_cursor"]
        if query["cursor"] is None:
            break
    assert seen == [1, 2, 3, 4, *seen[4:]]
    assert len(seen) == len(set(seen))


async def test_list_last_page_has_no_next(aud: AsyncClient) -> None:
    assert (await aud.get("/v1/audit/events", params={"ticket_id": TICKET_ID})).json()["next_cursor"] is None


async def test_show_record_gives_the_stored_bytes(log: Service, aud: AsyncClient) -> None:
    stored = await log.context.pool.fetchval("SELECT ocsf FROM audit_event WHERE sequence = 2")
    assert (await aud.get("/v1/audit/events/2")).content == stored


async def test_show_record_that_is_not_there_is_not_found(aud: AsyncClient) -> None:
    answer = await aud.get("/v1/audit/events/99")
    assert (answer.status_code, answer.json()["code"]) == (404, "record_unknown")


async def test_export_streams_the_stored_bytes_up_to_the_end_it_names(log: Service, aud: AsyncClient) -> None:
    answer = await aud.get("/v1/audit/export", params={"ticket_id": TICKET_ID})
    rows = await log.context.pool.fetch("SELECT ocsf FROM audit_event WHERE sequence <= 3 ORDER BY sequence")
    assert answer.content == b"".join(row["ocsf"] + b"\n" for row in rows)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert (answer.headers["Jit-Count"], answer.headers["Jit-Last-Sequence"]) == ("3", "4")


async def test_export_larger_than_a_batch_is_whole_and_holds_no_record_of_itself(
    log: Service, aud: AsyncClient
) -> None:
    await keep(log, *[example(AccessGranted)] * 600)
    answer = await aud.get("/v1/audit/export")
    lines = [json.loads(line) for line in answer.content.splitlines()]
    assert [line["metadata"]["sequence"] for line in lines] == list(range(1, 605))
    assert (await records(log, "audit.read"))[0]["metadata"]["sequence"] == 605


async def test_list_from_a_moment_that_moved_finds_later_facts(log: Service, aud: AsyncClient) -> None:
    later = example(AccessGranted).model_copy(update={"at": NOW + timedelta(days=1)})
    await keep(log, later)
    since = (NOW + timedelta(hours=12)).isoformat()
    assert found(await aud.get("/v1/audit/events", params={"since": since})) == [5]


async def test_read_leaves_no_token_of_the_reader_in_the_log(log: Service, aud: AsyncClient) -> None:
    token = aud.headers["Authorization"].removeprefix("Bearer ")
    await aud.get("/v1/audit/events", params={"actor": f"Bearer {token}"[:199]})
    await aud.get("/v1/audit/tickets/no-such-ticket")
    for row in await log.context.pool.fetch("SELECT ocsf FROM audit_event"):
        assert token[:40].encode() not in row["ocsf"]
