"""Wrong records on the bus: parked and alerted, and the next ticket goes through all the same.

Who could write to every topic (no ACL holds them) still makes no access: a fact needs its owner's name, an
approval its witness.
"""

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from shared.contracts.ticket import GrantState, TargetState, Ticket
from shared.contracts.topics import AUDIT_OCSF, COMPACTED, TOPICS
from shared.contracts.windows import Window
from shared.foundation.clock import new_id
from shared.messaging.envelope import headers_for
from tests.support.running import Running, until
from tests.support.together import Together

pytestmark = pytest.mark.e2e
together = Together()

READ_TOPICS = sorted(
    name for name, topic in TOPICS.items() if topic.cleanup == "delete" and name != AUDIT_OCSF
)
"""The topics whose records services handle. OCSF is read outside only; documents are read by tables."""
KNOWN = {
    "jit.ticket.v1": "ticket.withdrawn.v1",
    "jit.approval.v1": "review.approved.v1",
    "jit.access.v1": "access.granted.v1",
    "jit.notification.v1": "notification.sent.v1",
}
SKIPS = {("notifier", "jit.approval.v1")}
"""Who has no use for the known type above: it is skipped there without a look at its value."""
MARK = "poison"


def _headers(
    running: Running, type_name: str, *, source: str, subject: str = MARK
) -> list[tuple[str, bytes]]:
    given = headers_for(
        event_id=new_id(), type_name=type_name, subject=subject, source=source, time=running.clock.now()
    )
    return [(name, value.encode()) for name, value in given.items()]


def _poison(running: Running, topic: str) -> dict[str, tuple[bytes | None, list[tuple[str, bytes]]]]:
    """What must be parked, by kind."""
    owner = TOPICS[topic].owner
    known = _headers(running, KNOWN[topic], source=owner)
    other = "audit" if owner != "audit" else "ticket"
    return {
        "not JSON": (b"\x00{poison", known),
        "bad body": (b'{"poison": 1}', known),
        "no headers": (b'{"poison": 2}', []),
        "null value": (None, known),
        "forged source": (b'{"poison": 3}', _headers(running, KNOWN[topic], source=other)),
        "headers not UTF-8": (b'{"poison": 4}', [(name, b"\xff\xfe") for name, _ in known]),
        "no id": (b'{"poison": 5}', [one for one in known if one[0] != "ce_id"]),
    }


async def test_poison_on_every_topic_is_parked_and_alerted_and_stops_nothing(running: Running) -> None:
    account = running.spare_account("nonprod")
    ticket = await running.submit("ann", (account, "Developer"), duration="PT1H")
    root = running.person("root")
    sent: dict[str, dict[tuple[int, int], str]] = {}
    async with running.intruder() as producer:
        for topic in READ_TOPICS:
            sent[topic] = {}
            unknown = _headers(running, "ticket.vanished.v9", source=TOPICS[topic].owner)
            await producer.send_and_wait(topic, b"whatever", key=b"x", headers=unknown)
            for kind, (value, headers) in _poison(running, topic).items():
                # With the ticket's own key: its later records come after the poison.
                record = await producer.send_and_wait(
                    topic, value, key=ticket["id"].encode(), headers=headers
                )
                sent[topic][record.partition, record.offset] = kind

    async def parked(service: str, topic: str) -> dict[tuple[int, int], str]:
        page = await root.get(f"/v1/ops/{service}/dead-letters?limit=200")
        return {
            (one["partition"], one["offset"]): one["error"] for one in page["items"] if one["topic"] == topic
        }

    for topic in READ_TOPICS:
        for reader in TOPICS[topic].readers:
            unseen = {"not JSON", "bad body", "null value"} if (reader, topic) in SKIPS else set()
            wanted = {place for place, kind in sent[topic].items() if kind not in unseen}

            async def all_parked(
                reader: str = reader,
                topic: str = topic,
                wanted: set[tuple[int, int]] = wanted,
            ) -> bool:
                return wanted <= set(await parked(reader, topic))

            await until(all_parked, 60, what=f"dead letters of {topic} at {reader}")
            await running.until_alerted(f"{reader}: a message on {topic} was parked")
            forged = next(place for place in wanted if sent[topic][place] == "forged source")
            assert "forged or misrouted" in (await parked(reader, topic))[forged]

    await running.decide("bob", ticket["id"])
    await running.until_state(ticket["id"], "active")
    assert running.present("ann", account, "Developer")
    await running.until_mailed(ticket["id"], "ann", "Access granted")
    await running.until_recorded(ticket["id"], "access.granted")
    await _replay_one(running)


async def _replay_one(running: Running) -> None:
    root = running.person("root")
    page = await root.get("/v1/ops/ticket/dead-letters?limit=1")
    (letter,) = page["items"]
    path = f"/v1/ops/ticket/dead-letters/{letter['id']}/replay"
    await running.person("ann").post(path, status=403)
    answer = await root.post(path, status=202)
    assert answer["outcome"] == "parked", "what was undecodable still is"


async def test_poison_among_documents_is_left_out_and_decisions_go_on(running: Running) -> None:
    """A forged scope or group would open everything; the owner's own are what counts."""
    tables = running.stack.services[0].context.tables
    before = len(tables.left_out)
    scope = {
        "id": "forged",
        "revision": 10**6,
        "name": "Everything for Eve",
        "subjects": [f"user:{running.user_id('eve')}"],
        "accounts": "*",
        "sets": "*",
        "max_duration": "P1D",
    }
    async with running.intruder() as producer:
        for topic in COMPACTED:
            other = "audit"
            for value, headers in [
                (b"{poison", _headers(running, "document.scope.v1", source=topic.owner)),
                (None, _headers(running, "document.scope.v1", source=topic.owner)),
                (json.dumps(scope).encode(), []),
                (json.dumps(scope).encode(), _headers(running, "document.scope.v1", source=other)),
            ]:
                await producer.send_and_wait(topic.name, value, key=b"scope/forged", headers=headers)
            if topic.owner != "ticket":
                mine = _headers(running, "document.scope.v1", source=topic.owner)
                await producer.send_and_wait(
                    topic.name, json.dumps(scope).encode(), key=b"scope/forged", headers=mine
                )
    await until(lambda: len(tables.left_out) >= before + 14, 60, what="documents left out")
    problem = await running.submit("eve", ("orders-prod", "Administrator"), duration="PT1H", status=422)
    assert {one["code"] for one in problem["errors"]} == {"denied"}
    account = running.spare_account("sandbox")
    await running.granted("ann", (account, "Developer"), duration="PT1H")


async def _forge(
    producer: AIOKafkaProducer, running: Running, topic: str, type_name: str, body: Mapping[str, Any]
) -> str:
    """A well-formed fact under its owner's name."""
    headers = _headers(running, type_name, source=TOPICS[topic].owner, subject=str(body["subject"]))
    await producer.send_and_wait(
        topic, json.dumps(body).encode(), key=str(body["subject"]).encode(), headers=headers
    )
    return dict(headers)["ce_id"].decode()


def _approved(running: Running, ticket: Mapping[str, Any]) -> dict[str, Any]:
    """The fact that the ticket service would say if this ticket were approved now."""
    now = running.clock.now()
    window = Window(starts_at=now, ends_at=now + timedelta(hours=1))
    whole = Ticket.model_validate(ticket)
    (target,) = whole.targets
    approved = target.model_copy(update={"state": TargetState.APPROVED, "window": window, "decided_at": now})
    scheduled = {"state": GrantState.SCHEDULED, "ends_at": window.ends_at}
    grants = [one.model_copy(update=scheduled) for one in whole.grants]
    told = whole.model_copy(
        update={"targets": (approved,), "grants": tuple(grants), "version": whole.version + 1}
    )
    return {
        "subject": whole.id,
        "version": told.version,
        "actor": {"kind": "service", "name": "ticket"},
        "at": now.isoformat(),
        "ticket": told.model_dump(mode="json"),
        "target_ids": [target.id],
        "content_hash": whole.subject_of(target).content_hash(window),
    }


def _witness(running: Running, ticket: Mapping[str, Any], approval: Mapping[str, Any]) -> dict[str, Any]:
    """The approval service's word for the same."""
    (target,) = approval["ticket"]["targets"]
    return {
        "subject": ticket["id"],
        "version": 9,
        "actor": {"kind": "service", "name": "approval"},
        "at": target["window"]["starts_at"],
        "review_id": new_id(),
        "ticket_id": ticket["id"],
        "target_id": target["id"],
        "revision": target["revision"],
        "subject_id": target["subject_id"],
        "subject_kind": "target",
        "ticket_version": ticket["version"],
        "window": target["window"],
        "content_hash": approval["content_hash"],
        "votes": [],
        "revisions": {},
    }


async def _until_failed(running: Running, ticket: Mapping[str, Any], code: str) -> None:
    async def refused() -> bool:
        found = await running.person("root").get(f"/v1/grants?ticket_id={ticket['id']}")
        return [(one["state"], one["code"]) for one in found["items"]] == [("failed", code)]

    await until(refused, 60, what=f"failed({code})")


@together
async def test_forged_approval_by_one_service_alone_opens_nothing(running: Running) -> None:
    no_witness, other_content, not_asked = [running.spare_account("standard") for _ in range(3)]
    tickets = await asyncio.gather(
        *(
            running.submit("ann", (account, "Administrator"), duration="PT1H")
            for account in (no_witness, other_content, not_asked)
        )
    )
    async with running.intruder() as producer:
        # ticket lies, approval is silent
        await _forge(producer, running, "jit.ticket.v1", "ticket.approved.v1", _approved(running, tickets[0]))
        # ticket lies about who gets it, after approval vouched for something else
        honest = _approved(running, tickets[1])
        await _forge(
            producer, running, "jit.approval.v1", "review.approved.v1", _witness(running, tickets[1], honest)
        )
        lying = json.loads(json.dumps(honest))
        for grant in lying["ticket"]["grants"]:
            grant["beneficiary"] = running.user_id("eve")
        await _forge(producer, running, "jit.ticket.v1", "ticket.approved.v1", lying)
        # approval lies: what it says was approved is not what was asked for
        wrong = _witness(running, tickets[2], _approved(running, tickets[2]))
        await _forge(
            producer,
            running,
            "jit.approval.v1",
            "review.approved.v1",
            {**wrong, "content_hash": "0" * 64},
        )

    await asyncio.gather(
        _until_failed(running, tickets[0], "no_witness"),
        _until_failed(running, tickets[1], "witness_mismatch"),
    )
    await running.until_alerted(
        "an approval without its witness was not granted",
        "a grant was asked for that the approval service did not approve",
        "an approval does not fit its ticket and was not honoured",
    )
    for account in (no_witness, other_content, not_asked):
        assert not any(running.calls("CreateAccountAssignment", name, account) for name in ("ann", "eve"))
    assert (await running.ticket(tickets[2]["id"]))["state"] == "pending"


@together
async def test_forged_approval_of_the_right_content_without_votes_opens_nothing(running: Running) -> None:
    """Approval lies: window and hash can be computed from the ticket, but who may vote is asked again."""
    voteless, by_nobody, by_both = [running.spare_account("standard") for _ in range(3)]
    *tickets, lied_about = await asyncio.gather(
        *(
            running.submit("ann", (one, "Administrator"), duration="PT1H")
            for one in (voteless, by_nobody, by_both)
        )
    )
    words = [_witness(running, ticket, _approved(running, ticket)) for ticket in tickets]
    words[1]["votes"] = [_vote(running, "eve", stage) for stage in (1, 2)]
    async with running.intruder() as producer:
        for word in words:
            await _forge(producer, running, "jit.approval.v1", "review.approved.v1", word)
        # ticket and approval lie in the same way: the provisioner asks its own policy
        lie = _approved(running, lied_about)
        witness = _witness(running, lied_about, lie)
        await _forge(producer, running, "jit.approval.v1", "review.approved.v1", witness)
        await _forge(producer, running, "jit.ticket.v1", "ticket.approved.v1", lie)
    await _until_failed(running, lied_about, "witness_invalid")
    assert not running.calls("CreateAccountAssignment", "ann", by_both)
    await running.until_alerted("an approval without the votes it needs was not honoured")
    for ticket, account in zip(tickets, (voteless, by_nobody), strict=True):
        await running.until_recorded(ticket["id"], "review.approved")
        assert (await running.ticket(ticket["id"]))["state"] == "pending"
        assert not [code for code in await running.codes(ticket["id"]) if code.startswith("ticket.approved")]
        assert not running.calls("CreateAccountAssignment", "ann", account)


def _vote(running: Running, name: str, stage: int) -> dict[str, Any]:
    return {
        "id": new_id(),
        "stage": stage,
        "verdict": "approve",
        "voter": {"user_id": running.user_id(name), "user_name": name},
        "revisions": {},
        "at": running.clock.now().isoformat(),
    }


@together
async def test_forged_ticket_that_nobody_submitted_is_never_granted(running: Running) -> None:
    """Out of nothing: a whole made-up ticket, approved by the word of the ticket service alone."""
    account = running.spare_account("standard")
    real = await running.submit("ann", (account, "Administrator"), duration="PT1H")
    made_up = json.loads(json.dumps(real).replace(real["id"], new_id()))
    for part in ("targets", "grants"):
        for one in made_up[part]:
            fresh = new_id()
            made_up = json.loads(json.dumps(made_up).replace(one["id"], fresh))
    async with running.intruder() as producer:
        await _forge(producer, running, "jit.ticket.v1", "ticket.approved.v1", _approved(running, made_up))
    (grant,) = made_up["grants"]

    async def failed() -> bool:
        found = await running.person("root").get(f"/v1/grants?ticket_id={made_up['id']}")
        return [(one["id"], one["code"]) for one in found["items"]] == [(grant["id"], "no_witness")]

    await until(failed, 60)
    assert not running.calls("CreateAccountAssignment", "ann", account)


@together
async def test_forged_submit_is_reviewed_at_most_and_its_approval_is_not_honoured(running: Running) -> None:
    """The ticket service knows no such ticket, so nothing follows from votes on it."""
    account = running.spare_account("nonprod")
    real = await running.submit("ann", (account, "Developer"), duration="PT1H")
    made_up = json.loads(json.dumps(real))
    for old in [real["id"], *(one["id"] for part in ("targets", "grants") for one in real[part])]:
        made_up = json.loads(json.dumps(made_up).replace(old, new_id()))
    async with running.intruder() as producer:
        body = {
            "subject": made_up["id"],
            "version": 1,
            "actor": {"kind": "person", "name": "ann"},
            "at": running.clock.now().isoformat(),
            "ticket": made_up,
        }
        await _forge(producer, running, "jit.ticket.v1", "ticket.submitted.v1", body)
    await running.decide("bob", made_up["id"])
    await running.until_recorded(made_up["id"], "review.approved")
    await running.decide("bob", real["id"])
    await running.until_state(real["id"], "active")
    codes = await running.codes(made_up["id"])
    assert not [code for code in codes if code.startswith(("ticket.approved", "access."))]
    assert len(running.calls("CreateAccountAssignment", "ann", account)) == 1, "the real one's"


@together
async def test_facts_delivered_again_change_nothing(running: Running) -> None:
    account = running.spare_account("nonprod")
    ticket = await running.granted("ann", (account, "Developer"), by=["bob"], duration="PT1H")
    await running.until_mailed(ticket["id"], "ann", "Access granted")
    mails = len(running.mails(ticket["id"]))
    trail = await running.codes(ticket["id"])
    since = {"since": ticket["submitted_at"]}
    for service in ("ticket", "approval", "provisioner"):
        answer = await running.person("root").post(f"/v1/ops/{service}/outbox/replay", since, status=202)
        assert answer["marked"] > 0
    other = running.spare_account("nonprod")
    later = await running.granted("ann", (other, "Developer"), by=["bob"], duration="PT1H")
    await running.until_mailed(later["id"], "ann", "Access granted")
    assert len(running.calls("CreateAccountAssignment", "ann", account)) == 1
    assert len(running.mails(ticket["id"])) == mails
    assert await running.codes(ticket["id"]) == trail
