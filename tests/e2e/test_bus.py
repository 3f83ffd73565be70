"""Wrong records on the bus: parked and alerted, and the next ticket goes through all the same.

Who could write to every topic (no ACL holds them) still makes no access: a fact needs its owner's signature
(test_forgery.py), and an owner that lies needs the witness of another.
"""

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from shared.contracts.approval import ReviewApproved
from shared.contracts.event import Actor
from shared.contracts.ticket import Ticket, TicketApproved, TicketSubmitted
from shared.contracts.topics import AUDIT_OCSF, COMPACTED, TOPICS
from shared.contracts.windows import Window
from shared.foundation.clock import new_id
from tests.support import forging
from tests.support.forging import forge
from tests.support.running import Running, until
from tests.support.together import together

pytestmark = pytest.mark.e2e

READ_TOPICS = sorted(
    name for name, topic in TOPICS.items() if topic.cleanup == "delete" and name != AUDIT_OCSF
)
"""The topics whose records services handle. OCSF is read outside only; documents are read by tables."""
KNOWN = {
    "jit.ticket.v1": "ticket.approved.v1",
    "jit.stop.v1": "ticket.terminated.v1",
    "jit.approval.v1": "review.approved.v1",
    "jit.access.v1": "access.granted.v1",
    "jit.notification.v1": "notification.sent.v1",
}
SKIPS = {("notifier", "jit.approval.v1"), ("approval", "jit.ticket.v1")}
"""Who has no use for the known type above: it is skipped there without a look at anything else."""
MARK = "poison"
KINDS = (
    "not JSON",
    "bad body",
    "no headers",
    "null value",
    "forged source",
    "headers not UTF-8",
    "no id",
)


def _headers(running: Running, type_name: str, *, source: str) -> list[tuple[str, bytes]]:
    return forging.headers(running, type_name, source=source, subject=MARK)


def _poison(running: Running, topic: str) -> dict[str, tuple[bytes | None, list[tuple[str, bytes]]]]:
    """What must be parked, by kind."""
    owner = TOPICS[topic].owner
    known = _headers(running, KNOWN[topic], source=owner)
    other = "audit" if owner != "audit" else "ticket"
    samples: list[tuple[bytes | None, list[tuple[str, bytes]]]] = [
        (b"\x00{poison", known),
        (b'{"poison": 1}', known),
        (b'{"poison": 2}', []),
        (None, known),
        (b'{"poison": 3}', _headers(running, KNOWN[topic], source=other)),
        (b'{"poison": 4}', [(name, b"\xff\xfe") for name, _ in known]),
        (b'{"poison": 5}', [one for one in known if one[0] != "ce_id"]),
    ]
    return dict(zip(KINDS, samples, strict=True))


async def test_poison_on_every_topic_is_parked_and_alerted_and_stops_nothing(running: Running) -> None:
    account = running.spare_account("nonprod")
    ticket = await running.submit("ann", (account, "Developer"), duration="PT1H")
    root = running.person("root")
    sent: dict[str, dict[tuple[int, int], str]] = {}
    async with running.intruder() as producer:
        for topic in READ_TOPICS:
            sent[topic] = {}
            unknown = _headers(running, "ticket.vanished.v9", source=TOPICS[topic].owner)
            owner = forging.key_of(running, TOPICS[topic].owner)
            await forging.send(producer, topic, b"whatever", key="x", headers=unknown, by=owner)
            for kind, (value, headers) in _poison(running, topic).items():
                # With the ticket's own key: its later records come after the poison.
                record = await forging.send(
                    producer, topic, value, key=ticket["id"], headers=headers, by=owner
                )
                sent[topic][record.partition, record.offset] = kind

    async def parked(service: str, topic: str) -> dict[tuple[int, int], str]:
        page = await root.get(f"/v1/ops/{service}/dead-letters?limit=200")
        return {
            (one["partition"], one["offset"]): one["error"] for one in page["items"] if one["topic"] == topic
        }

    for topic in READ_TOPICS:
        for reader in TOPICS[topic].readers:
            seen = {"no headers", "headers not UTF-8"} if (reader, topic) in SKIPS else set(KINDS)
            wanted = {place for place, kind in sent[topic].items() if kind in seen}

            async def all_parked(
                reader: str = reader,
                topic: str = topic,
                wanted: set[tuple[int, int]] = wanted,
            ) -> bool:
                return wanted <= set(await parked(reader, topic))

            await until(all_parked, 60, what=f"dead letters of {topic} at {reader}")
            await running.until_alerted(f"{reader}: a message on {topic} was parked")
            for forged in [place for place in wanted if sent[topic][place] == "forged source"]:
                assert "forged or misrouted" in (await parked(reader, topic))[forged]

    await running.decide("bob", ticket["id"])
    await running.until_state(ticket["id"], "active")
    assert running.present("ann", account, "Developer")
    await running.until_mailed(ticket["id"], "ann", "Access granted")
    await running.until_recorded(ticket["id"], "access.granted")
    await running.person("root").post(f"/v1/tickets/{ticket['id']}/terminate", status=202)
    await running.until_state(ticket["id"], "ended")
    assert not running.present("ann", account, "Developer"), "its stop came behind poison of its own key, too"
    await running.until_mailed(ticket["id"], "ann", "Access stopped")
    await running.until_recorded(ticket["id"], "ticket.terminated", "access.revoked")
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
            owner = forging.key_of(running, topic.owner)
            for value, headers in [
                (b"{poison", _headers(running, "document.scope.v1", source=topic.owner)),
                (None, _headers(running, "document.scope.v1", source=topic.owner)),
                (json.dumps(scope).encode(), []),
                (json.dumps(scope).encode(), _headers(running, "document.scope.v1", source=other)),
            ]:
                await forging.send(producer, topic.name, value, key="scope/forged", headers=headers, by=owner)
            if topic.owner != "ticket":
                mine = _headers(running, "document.scope.v1", source=topic.owner)
                await forging.send(
                    producer,
                    topic.name,
                    json.dumps(scope).encode(),
                    key="scope/forged",
                    headers=mine,
                    by=owner,
                )
    await until(lambda: len(tables.left_out) >= before + 14, 60, what="documents left out")
    problem = await running.submit("eve", ("orders-prod", "Administrator"), duration="PT1H", status=422)
    assert {one["code"] for one in problem["errors"]} == {"denied"}
    account = running.spare_account("sandbox")
    await running.granted("ann", (account, "Developer"), duration="PT1H")


def _word_of_both(running: Running, ticket: Mapping[str, Any]) -> tuple[TicketApproved, ReviewApproved]:
    """Ticket's and approval's word for an hour from now, as they would be if it were approved now."""
    whole, now = Ticket.model_validate(ticket), running.clock.now()
    window = Window(starts_at=now, ends_at=now + timedelta(hours=1))
    subject = whole.subject_of(whole.targets[0])
    return forging.approval(whole, window), forging.witness(whole, subject, window, at=now)


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
    alone, _ = _word_of_both(running, tickets[0])
    honest, its_witness = _word_of_both(running, tickets[1])
    eves = [one.model_copy(update={"beneficiary": running.user_id("eve")}) for one in honest.ticket.grants]
    lying = honest.model_copy(update={"ticket": honest.ticket.model_copy(update={"grants": tuple(eves)})})
    _, wrong = _word_of_both(running, tickets[2])
    async with running.intruder() as producer:
        # ticket lies, approval is silent
        await forge(producer, running, alone)
        # ticket lies about who gets it, after approval vouched for something else
        await forge(producer, running, its_witness, lying)
        # approval lies: what it says was approved is not what was asked for
        await forge(producer, running, wrong.model_copy(update={"content_hash": "0" * 64}))

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
    _, voteless_word = _word_of_both(running, tickets[0])
    _, nobodys = _word_of_both(running, tickets[1])
    eves = tuple(forging.vote(running, "eve", stage=stage) for stage in (1, 2))
    lie, its_witness = _word_of_both(running, lied_about)
    async with running.intruder() as producer:
        await forge(producer, running, voteless_word, nobodys.model_copy(update={"votes": eves}))
        # ticket and approval lie in the same way: the provisioner asks its own policy
        await forge(producer, running, its_witness, lie)
    await _until_failed(running, lied_about, "witness_invalid")
    assert not running.calls("CreateAccountAssignment", "ann", by_both)
    await running.until_alerted("an approval without the votes it needs was not honoured")
    for ticket, account in zip(tickets, (voteless, by_nobody), strict=True):
        await running.until_recorded(ticket["id"], "review.approved")
        assert (await running.ticket(ticket["id"]))["state"] == "pending"
        assert not [code for code in await running.codes(ticket["id"]) if code.startswith("ticket.approved")]
        assert not running.calls("CreateAccountAssignment", "ann", account)


def _made_up(real: Mapping[str, Any]) -> dict[str, Any]:
    """The same request under ids of its own."""
    parts = [one for name in ("targets", "grants") for one in real[name]]
    made_up = json.dumps(real)
    for old in [real["id"], *(one["id"] for one in parts), *(one["subject_id"] for one in real["targets"])]:
        made_up = made_up.replace(old, new_id())
    ticket: dict[str, Any] = json.loads(made_up)
    return ticket


@together
async def test_forged_ticket_that_nobody_submitted_is_never_granted(running: Running) -> None:
    """Out of nothing: a whole made-up ticket, approved by the word of the ticket service alone."""
    account = running.spare_account("standard")
    real = await running.submit("ann", (account, "Administrator"), duration="PT1H")
    made_up = _made_up(real)
    async with running.intruder() as producer:
        await forge(producer, running, _word_of_both(running, made_up)[0])
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
    made_up = _made_up(real)
    async with running.intruder() as producer:
        submitted = TicketSubmitted(
            subject=made_up["id"],
            version=1,
            actor=Actor(kind="person", name="ann"),
            at=running.clock.now(),
            ticket=Ticket.model_validate(made_up),
        )
        await forge(producer, running, submitted)
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
    await running.until_recorded(ticket["id"], "ticket.approved", "review.approved", "access.granted")
    trail = await running.codes(ticket["id"])
    since = {"since": ticket["submitted_at"]}
    for service in ("ticket", "approval", "provisioner"):
        answer = await running.person("root").post(f"/v1/ops/{service}/outbox/replay", since, status=202)
        assert answer["marked"] > 0
    other = running.spare_account("nonprod")
    later = await running.granted("ann", (other, "Developer"), by=["bob"], duration="PT1H")
    await running.until_mailed(later["id"], "ann", "Access granted")
    assert len(running.calls("CreateAccountAssignment", "ann", account)) == 1
    await running.require_told_once(ticket["id"])
    assert await running.codes(ticket["id"]) == trail
