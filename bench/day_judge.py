"""The verdict on a day, from outside: the simulator's record of the truth, the mails, the audit log.

No service is believed. What was permitted comes from the people's own memory (bench/day_people.py); the API
is asked for ticket states only to compare them with what the audit log folds to.
"""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer

from bench.client import Person
from bench.day_people import Key, Outcome
from bench.day_truth import (
    Presence,
    Verdict,
    Wrong,
    judge_kept,
    judge_nothing_left,
    judge_truth,
    merged,
    never_wrong,
    presences_of,
)
from bench.fleet import Down, Fleet
from shared.contracts.topics import AUDIT_OCSF

SEEN_WITHIN_S = 10.0
"""A fact about AWS is compared with the truth within this time before it was said."""

CLOCK_WRONG_BY_S = 60.0
"""At most, where somebody sets it at all."""

_RANK = {
    None: 0,
    "scheduled": 1,
    "granting": 2,
    "active": 3,
    "revoking": 4,
    "revoked": 5,
    "released": 5,
    "failed": 5,
}
_STATE = {
    "access.scheduled": "scheduled",
    "access.granting": "granting",
    "access.granted": "active",
    "access.revoke_due": "revoking",
    "access.revoked": "revoked",
    "access.released": "released",
    "access.failed": "failed",
}


@dataclass(frozen=True)
class Troubles:
    """What a judge concedes beside kills of services and of the broker, which the fleet itself remembers."""

    downs: Sequence[Down] = ()
    """Times in which nothing at all can be asked of the system."""
    wrong: Wrong = never_wrong
    mails_repeat_after: Sequence[float] = ()
    """Moments at which a mail that was just being sent may have to be sent again."""


async def judge(
    fleet: Fleet, outcome: Outcome, standing: set[tuple[str, ...]], troubles: Troubles | None = None
) -> Verdict:
    """Everything that can be seen from outside, compared."""
    troubles = troubles or Troubles()
    verdict = Verdict()
    for problem in outcome.problems:
        verdict.complain("people", problem)
    presences = presences_of((await fleet.simulate("GET", "/history"))["history"])
    provisioner = merged([*fleet.services["provisioner"].downs, *troubles.downs])
    stopping = merged([*provisioner, *fleet.services["ticket"].downs, *fleet.broker_downs])
    judge_truth(verdict, outcome, presences, provisioner, stopping=stopping, wrong=troubles.wrong)
    judge_kept(verdict, outcome, presences, wrong=troubles.wrong)
    judge_nothing_left(verdict, standing, (await fleet.simulate("GET", "/assignments"))["assignments"])
    events = await read_audit(fleet)
    judge_log(verdict, events, await _published_ids(fleet))
    judge_words(verdict, events, presences, fleet, wrong=troubles.wrong)
    await _judge_fold(verdict, fleet, events, outcome)
    _judge_mail(verdict, fleet, events, [*fleet.services["notifier"].kills, *troubles.mails_repeat_after])
    _measure(verdict, outcome, presences, events)
    return verdict


# the log


async def read_audit(fleet: Fleet) -> list[dict[str, Any]]:
    """Every OCSF record on the public topic, as a SIEM would read it, in the order of the sequence."""
    consumer = AIOKafkaConsumer(
        AUDIT_OCSF, bootstrap_servers=fleet.kafka.bootstrap, auto_offset_reset="earliest", group_id=None
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        # The topic may repeat a record; the log must not hold one fact under two sequences.
        records: dict[tuple[str, int], dict[str, Any]] = {}
        while any([await consumer.position(one) < end for one, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                for record in batch:
                    body = json.loads(record.value)
                    records[body["metadata"]["uid"], body["metadata"]["sequence"]] = body
    finally:
        await consumer.stop()
    return sorted(records.values(), key=lambda one: int(one["metadata"]["sequence"]))


async def _published_ids(fleet: Fleet) -> Counter[str]:
    """The ids of all facts in the outboxes of the four services that tell facts."""
    ids: Counter[str] = Counter()
    for service in ("ticket", "approval", "provisioner", "notifier"):
        conn = await asyncpg.connect(fleet.dsn(service))
        try:
            rows = await conn.fetch("SELECT event_id FROM outbox WHERE type NOT LIKE 'document.%'")
        finally:
            await conn.close()
        ids.update(str(row["event_id"]) for row in rows)
    return ids


def judge_log(verdict: Verdict, events: Sequence[dict[str, Any]], published: Counter[str]) -> None:
    """Gapless, and every fact that was ever written exactly once."""
    sequences = [one["metadata"]["sequence"] for one in events]
    if sequences != list(range(1, len(sequences) + 1)):
        verdict.complain("audit", f"the sequence has gaps or repeats among {len(sequences)} records")
    own = {"audit.read", "authz.denied"}
    kept = Counter(one["metadata"]["uid"] for one in events)
    from_others = {
        one["metadata"]["uid"]
        for one in events
        if one["metadata"]["event_code"] not in own or one["metadata"]["uid"] in published
    }
    for uid in set(published) - set(kept):
        verdict.complain("audit", f"fact {uid} is in an outbox and not in the log")
    for uid in from_others - set(published):
        verdict.complain("audit", f"record {uid} is in the log and in no outbox")
    for uid, times in kept.items():
        if times > 1:
            verdict.complain("audit", f"fact {uid} is in the log {times} times")


def judge_words(
    verdict: Verdict,
    events: Iterable[dict[str, Any]],
    presences: Sequence[Presence],
    fleet: Fleet,
    *,
    wrong: Wrong = never_wrong,
) -> None:
    """Nothing is called granted or revoked that AWS did not show at that time."""
    arns = {one.arn.rsplit("/", 1)[-1]: one.arn for one in fleet.organisation.permission_sets.values()}
    there: dict[Key, list[Presence]] = {}
    for presence in presences:
        there.setdefault(presence.key, []).append(presence)
    for event in events:
        code = event["metadata"]["event_code"]
        if code not in {"access.granted", "access.revoked"}:
            continue
        account = event["resources"][0]["uid"]
        key = (event["user"]["uid"], account, arns[event["privileges"][0]])
        announced = event["time"] / 1000
        # By the clock itself that may have been wrong then.
        slack = wrong(announced - CLOCK_WRONG_BY_S, announced + CLOCK_WRONG_BY_S)
        spans = there.get(key, [])
        if code == "access.granted" and not any(
            one.since <= announced + slack and announced - SEEN_WITHIN_S - slack <= one.until for one in spans
        ):
            verdict.complain("truth", f"{key} was called granted at {announced:.1f} and was not there")
        if code == "access.revoked" and any(
            one.since + slack <= announced < one.until - slack for one in spans
        ):
            verdict.complain("truth", f"{key} was called revoked at {announced:.1f} and was there")


async def _judge_fold(
    verdict: Verdict, fleet: Fleet, events: Sequence[dict[str, Any]], outcome: Outcome
) -> None:
    """The log alone must lead to exactly the state each ticket is in."""
    folded = fold(events)
    auditor = Person(fleet, "aud")
    for ticket_id in outcome.tickets:
        reply = await auditor.call("GET", f"/v1/tickets/{ticket_id}")
        actual = reply.body
        expected = folded.get(ticket_id)
        found = {
            "targets": {one["id"]: one["state"] for one in actual["targets"]},
            "grants": {one["id"]: one["state"] for one in actual["grants"]},
        }
        if expected != found:
            verdict.complain("fold", f"ticket {ticket_id}: the log says {expected}, the service {found}")
        if live := [one["id"] for one in actual["grants"] if 0 < _RANK[one["state"]] < 5]:
            verdict.complain("unfinished", f"ticket {ticket_id}: grants {live} have not ended")


@dataclass(frozen=True)
class _Target:
    """As the newest record of it told."""

    version: int
    state: str
    grants: dict[str, str | None]


def fold(events: Iterable[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Ticket id to the states of its targets and grants, from the records alone."""
    told: dict[str, dict[str, _Target]] = {}
    reached: dict[str, dict[str, str]] = {}
    for event in events:
        code = event["metadata"]["event_code"]
        ticket_id = event["metadata"].get("correlation_uid")
        if code.startswith("ticket."):
            _learn(told.setdefault(ticket_id, {}), event["entity"]["data"])
        elif code in _STATE:
            grant = event["unmapped"]["jit"]["grant_id"]
            states = reached.setdefault(ticket_id, {})
            if _RANK[_STATE[code]] > _RANK[states.get(grant)]:
                states[grant] = _STATE[code]
    return {
        ticket_id: {
            "targets": {target_id: target.state for target_id, target in targets.items()},
            "grants": {
                grant_id: max(
                    state,
                    reached.get(ticket_id, {}).get(grant_id),
                    key=lambda state: _RANK[state],
                )
                for target in targets.values()
                for grant_id, state in target.grants.items()
            },
        }
        for ticket_id, targets in told.items()
    }


def _learn(targets: dict[str, _Target], told: dict[str, Any]) -> None:
    """From one record: it tells of some of a ticket's targets, each with all its grants."""
    for one in told["targets"]:
        known = targets.get(one["id"])
        if known is None or known.version < told["version"]:
            grants = {
                grant["id"]: grant.get("state") for grant in told["grants"] if grant["target_id"] == one["id"]
            }
            targets[one["id"]] = _Target(told["version"], one["state"], grants)


# mail


def _judge_mail(
    verdict: Verdict, fleet: Fleet, events: Sequence[dict[str, Any]], kills: Sequence[float]
) -> None:
    """Who had to be mailed was; a mail came twice only if the notifier was killed between."""
    arrived: dict[str, list[float]] = {}
    for line in fleet.mailbox.log.read_text().splitlines():
        receipt = json.loads(line)
        moment = datetime.fromisoformat(receipt["received_at"]).timestamp()
        arrived.setdefault(receipt["message_id"], []).append(moment)
    sent = _message_ids(events)
    for wanted, why in _mails_wanted(events):
        if sent.get(wanted) not in arrived:
            verdict.complain("mail", f"{why} got no mail")
    for identity, times in arrived.items():
        if len(times) > 1 and not any(min(times) <= kill <= max(times) + 1 for kill in kills):
            verdict.complain("mail", f"{identity} came {len(times)} times without a kill between")
    verdict.counts["mails"] = sum(len(times) for times in arrived.values())
    verdict.counts["mails_repeated"] = sum(len(times) - 1 for times in arrived.values())


_MAILED_TO_REQUESTER = frozenset(
    f"ticket.{state}"
    for state in ("submitted", "approved", "rejected", "timed_out", "withdrawn", "terminated", "returned")
)


def _message_ids(events: Iterable[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """Event and recipient to the mail that, as the notifier says, told the one of the other."""
    found = {}
    for event in events:
        if event["metadata"]["event_code"] == "notification.sent":
            told = event["unmapped"]["jit"]
            for uid, mail in itertools.product(told["event_ids"], told["mails"]):
                found[uid, mail["recipient"]] = mail["message_id"]
    return found


def _mails_wanted(events: Iterable[dict[str, Any]]) -> Iterable[tuple[tuple[str, str], str]]:
    """Event and person: approvers of a stage, the requester, beneficiaries of what happened."""
    for event in events:
        code, uid = event["metadata"]["event_code"], event["metadata"]["uid"]
        if code == "review.stage_opened":
            for person in event["entity"]["data"]["approvers"]:
                yield (uid, person["user_id"]), f"approver {person['user_name']} ({uid})"
        elif code in _MAILED_TO_REQUESTER:
            requester = event["entity"]["data"]["requester"]["user_id"]
            yield (uid, requester), f"requester of {code} ({uid})"
        elif code in {"access.granted", "access.revoked", "access.failed", "access.released"}:
            yield (uid, event["user"]["uid"]), f"beneficiary of {code} ({uid})"


# figures


def _measure(
    verdict: Verdict, outcome: Outcome, presences: Sequence[Presence], events: Sequence[dict[str, Any]]
) -> None:
    verdict.counts |= {
        "tickets": len(outcome.tickets),
        "approved": len(outcome.approved_at),
        "stopped_early": len(outcome.stopped_at),
        "assignments_made": len(presences),
        "audit_records": len(events),
        **{f"kind_{kind}": count for kind, count in Counter(outcome.tickets.values()).items()},
    }
    windows = {one.ticket: (key, one) for key, many in outcome.allowed.items() for one in many}
    appeared, gone = [], []
    for ticket_id, (key, window) in windows.items():
        mine = [
            one
            for one in presences
            if one.key == key and one.since < window.until and one.until > window.since
        ]
        if ticket_id in outcome.approved_at and mine:
            appeared.append(min(one.since for one in mine) - outcome.approved_at[ticket_id])
        if ticket_id not in outcome.stopped_at and mine and len(outcome.allowed[key]) == 1:
            gone.append(max(one.until for one in mine) - window.until)
    verdict.latencies_s = {"approval_to_access": _spread(appeared), "end_to_gone": _spread(gone)}


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    at = [ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99)]
    return {"p50": round(at[0], 2), "p99": round(at[1], 2), "max": round(ordered[-1], 2)}


async def settle_down(fleet: Fleet, *, longest: timedelta) -> None:
    """Wait until nothing more happens at AWS and in the log, or for as long as is conceded."""
    async with asyncio.timeout(longest.total_seconds()):
        quiet, before = 0, (0, 0)
        while quiet < 8:
            await asyncio.sleep(3)
            calls = (await fleet.simulate("GET", "/counters"))["assignments"]
            conn = await asyncpg.connect(fleet.dsn("audit"))
            written = await conn.fetchval("SELECT last_sequence FROM log_head")
            await conn.close()
            quiet = quiet + 1 if (calls, written) == before else 0
            before = (calls, written)
