"""What people do in a working day, and what that permits: the judge's own account of who may have what when.

Windows are tens of seconds instead of hours. What a person did is remembered from the answers to their own
calls, with the times they were sent and answered; no service is asked what it thinks.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.client import Person, Reply
from bench.day_intruder import Intruder
from bench.fleet import Fleet

PATIENCE_S = 120.0
KINDS = (
    ("run", 34),  # approved in all stages, ends by itself and not by a forged stop
    ("overlap", 10),  # two tickets on one assignment, the first ends earlier
    ("scheduled", 8),  # a start in some seconds
    ("reject", 13),
    ("withdraw", 5),
    ("return", 7),
    ("terminate", 7),  # behind what nobody can read
    ("ignored", 4),  # nobody decides, somebody forges that they did; times out at its end
    ("automatic", 8),  # a sandbox, without votes
    ("others", 4),  # for several people, on several accounts
)
"""What a ticket is for, with weights."""
ASKED_FOR = ("SystemAdmin", "PowerUser", "Developer")
"""The permission sets of all their tickets."""

Key = tuple[str, str, str]
"""User id, account id, permission set ARN."""


@dataclass(frozen=True)
class Allowed:
    """When access was permitted, in epoch seconds, as seen from outside."""

    since: float
    until: float
    ticket: str
    sure_until: float
    """Access that was given may not be taken before this, unless somebody stopped it."""


@dataclass
class Outcome:
    """Everything the people know at the end of the day."""

    allowed: dict[Key, list[Allowed]] = field(default_factory=dict)
    tickets: dict[str, str] = field(default_factory=dict)
    """Ticket id to kind."""
    approved_at: dict[str, float] = field(default_factory=dict)
    """Ticket id to the moment its last approval was answered."""
    stopped_at: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Day:
    """The people, their dice and their memory."""

    def __init__(self, fleet: Fleet, intruder: Intruder, *, seed: int) -> None:
        self.fleet = fleet
        self.intruder = intruder
        self._dice = random.Random(seed)
        self._people: dict[str, Person] = {}
        self.outcome = Outcome()
        world = fleet.organisation
        self._sets = {one.name: one.arn for one in world.permission_sets.values()}
        self.accounts = self._by_unit()
        self._engineers = self._members("engineers")
        self._on_call = sorted(set(self._members("on-call")))

    def _members(self, group: str) -> list[str]:
        world = self.fleet.organisation
        ids = [one.user for one in world.members_of(world.find_group(group).id)]
        return sorted(world.users[one].user_name for one in ids if world.users[one].enabled)

    def _by_unit(self) -> dict[str, list[str]]:
        world = self.fleet.organisation
        units: dict[str, list[str]] = {}
        for account in world.accounts.values():
            if account.state != "ACTIVE" or account.name in {"management", "identity"}:
                continue
            for unit in world.names_to(account.parent).split("/"):
                units.setdefault(unit, []).append(account.id)
        return units

    def person(self, name: str) -> Person:
        return self._people.setdefault(name, Person(self.fleet, name))

    async def run(self, *, tickets: int, seconds: float) -> None:
        """Submit so many tickets over so much time, and live each of them to its end."""
        kinds = [kind for kind, _ in KINDS]
        weights = [weight for _, weight in KINDS]
        jobs = []
        for number in range(tickets):
            kind = self._dice.choices(kinds, weights)[0]
            dice = random.Random(self._dice.random())
            delay = seconds * 0.75 * number / tickets
            jobs.append(asyncio.create_task(self._job(kind, dice, delay, number)))
        await asyncio.gather(*jobs)

    async def _job(self, kind: str, dice: random.Random, delay: float, number: int) -> None:
        await asyncio.sleep(delay)
        try:
            await _JOBS[kind](self, dice)
        except Exception as error:  # noqa: BLE001 (one ticket's trouble is a line in the verdict)
            self.outcome.problems.append(f"ticket {number} ({kind}): {type(error).__name__}: {error}")

    # the steps people take

    async def submit(self, who: str, kind: str, body: dict[str, Any]) -> tuple[dict[str, Any], Reply]:
        reply = await self.person(who).call("POST", "/v1/tickets", body, patience=PATIENCE_S)
        if reply.status != 201:
            raise RuntimeError(f"submit by {who} answered {reply.status}: {reply.body}")
        ticket: dict[str, Any] = reply.body
        self.outcome.tickets[ticket["id"]] = kind
        return ticket, reply

    async def decide(self, ticket: dict[str, Any], *, reject_at: int | None = None) -> tuple[float, float]:
        """Carry every review of a ticket through its stages; when the last vote was sent and answered."""
        sent, answered = 0.0, 0.0
        for target in ticket["targets"]:
            stages = _stages_of(self.fleet, target["account_id"])
            for number, voters in enumerate(stages, start=1):
                verdict = "reject" if number == reject_at else "approve"
                reply = await self._vote(ticket, target["id"], number, voters, verdict)
                sent, answered = max(sent, reply.sent), max(answered, reply.answered)
                if verdict == "reject":
                    break
        return sent, answered

    async def _vote(
        self, ticket: dict[str, Any], target_id: str, stage: int, voters: Sequence[str], verdict: str
    ) -> Reply:
        parties = {ticket["requester"]["user_name"], *(one["user_name"] for one in ticket["beneficiaries"])}
        voter = self.person(next(name for name in voters if name not in parties))
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            listed = await voter.call("GET", f"/v1/tickets/{ticket['id']}/reviews")
            items = listed.body["items"] if listed.status == 200 else []
            review = next((one for one in items if one["target_id"] == target_id), None)
            if review and review["state"] == "open" and review["stage"] == stage:
                body = {"verdict": verdict, "comment": "as discussed in the morning"}
                path = f"/v1/reviews/{review['id']}/decisions"
                seen = {"If-Match": f'"{review["version"]}"'}
                reply = await voter.call("POST", path, body, seen, patience=PATIENCE_S)
                if reply.status in {200, 201}:
                    return reply
                if reply.status == 412:  # it changed since it was read
                    continue
                raise RuntimeError(f"vote of {voter.user_name} answered {reply.status}: {reply.body}")
            await asyncio.sleep(0.3)
        raise TimeoutError(f"the review of {target_id} never waited at stage {stage}")

    def allow(self, ticket: dict[str, Any], since: float, until: float, *, sure: float) -> None:
        """Note what an approval permits: every grant of the ticket, for the window it opens."""
        targets = {one["id"]: one for one in ticket["targets"]}
        for grant in ticket["grants"]:
            target = targets[grant["target_id"]]
            key = (grant["beneficiary"], target["account_id"], self._arn(target["set_id"]))
            self.outcome.allowed.setdefault(key, []).append(Allowed(since, until, ticket["id"], sure))

    def _arn(self, set_id: str) -> str:
        return next(arn for arn in self._sets.values() if arn.endswith(set_id))

    def body(self, accounts: Sequence[str], set_name: str, **more: Any) -> dict[str, Any]:
        set_id = self._sets[set_name].rsplit("/", 1)[-1]
        return {
            "targets": [{"account": one, "set": set_id} for one in accounts],
            "reason": "restart the workers after the incident",
            **more,
        }

    def pick(self, dice: random.Random) -> tuple[str, str, str]:
        """Somebody, an account they may ask for, and a set."""
        if dice.random() < 0.45:
            return dice.choice(self._on_call), dice.choice(self.accounts["standard"]), ASKED_FOR[0]
        unit = dice.choice(["dev", "test"])
        return dice.choice(self._engineers), dice.choice(self.accounts[unit]), ASKED_FOR[1]

    async def active(self, who: str, ticket_id: str) -> None:
        """Wait until the person sees that they have access (or never will)."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            reply = await self.person(who).call("GET", f"/v1/tickets/{ticket_id}")
            if reply.body["state"] not in {"pending", "scheduled", "granting"}:
                return
            await asyncio.sleep(0.5)


def _stages_of(fleet: Fleet, account_id: str) -> list[list[str]]:
    """Who votes, by stage, after the rules of local/seed.py."""
    world = fleet.organisation
    units = world.names_to(world.accounts[account_id].parent).split("/")
    if units[0] in {"prod", "infrastructure"}:
        return [["carl", "cora"], ["dora", "dirk"]]
    owners = [world.users[one.user].user_name for one in world.members_of(world.find_group("owners-dev").id)]
    return [["bob", *sorted(owners)]]


async def approved(day: Day, dice: random.Random, kind: str, seconds: float) -> tuple[str, dict[str, Any]]:
    """One ticket with an open start, approved; its window noted."""
    who, account, set_name = day.pick(dice)
    ticket, _ = await day.submit(who, kind, day.body([account], set_name, duration=f"PT{seconds}S"))
    await asyncio.sleep(dice.uniform(0, 2))
    sent, answered = await day.decide(ticket)
    day.outcome.approved_at[ticket["id"]] = answered
    day.allow(ticket, sent, answered + seconds, sure=sent + seconds)
    return who, ticket


async def _run(day: Day, dice: random.Random) -> None:
    who, ticket = await approved(day, dice, "run", dice.randint(15, 60))
    await day.active(who, ticket["id"])
    await day.intruder.stop(ticket)


async def _overlap(day: Day, dice: random.Random) -> None:
    """The same person, account and set twice; the first ends while the second goes on."""
    who, account, set_name = day.pick(dice)
    for seconds in (dice.randint(28, 36), dice.randint(50, 65)):
        body = day.body([account], set_name, duration=f"PT{seconds}S")
        ticket, _ = await day.submit(who, "overlap", body)
        sent, answered = await day.decide(ticket)
        day.outcome.approved_at[ticket["id"]] = answered
        day.allow(ticket, sent, answered + seconds, sure=sent + seconds)


async def _scheduled(day: Day, dice: random.Random) -> None:
    who, account, set_name = day.pick(dice)
    starts = datetime.now(UTC) + timedelta(seconds=dice.uniform(15, 30))
    ends = starts + timedelta(seconds=dice.uniform(20, 40))
    body = day.body([account], set_name, starts_at=starts.isoformat(), ends_at=ends.isoformat())
    ticket, _ = await day.submit(who, "scheduled", body)
    await day.decide(ticket)
    day.allow(ticket, starts.timestamp(), ends.timestamp(), sure=ends.timestamp())


async def _reject(day: Day, dice: random.Random) -> None:
    who, account, set_name = day.pick(dice)
    ticket, _ = await day.submit(who, "reject", day.body([account], set_name, duration="PT30S"))
    stages = len(_stages_of(day.fleet, account))
    await day.decide(ticket, reject_at=dice.randint(1, stages))


async def _withdraw(day: Day, dice: random.Random) -> None:
    who, account, set_name = day.pick(dice)
    ticket, _ = await day.submit(who, "withdraw", day.body([account], set_name, duration="PT30S"))
    await asyncio.sleep(dice.uniform(0, 3))
    reply = await day.person(who).call(
        "POST", f"/v1/tickets/{ticket['id']}/withdraw", {}, patience=PATIENCE_S
    )
    if reply.status != 200:
        raise RuntimeError(f"withdraw answered {reply.status}: {reply.body}")


async def _return(day: Day, dice: random.Random) -> None:
    who, ticket = await approved(day, dice, "return", 60)
    await day.active(who, ticket["id"])
    reply = await day.person(who).call("POST", f"/v1/tickets/{ticket['id']}/return", {}, patience=PATIENCE_S)
    if reply.status == 200:
        day.outcome.stopped_at[ticket["id"]] = reply.answered


async def _terminate(day: Day, dice: random.Random) -> None:
    who, ticket = await approved(day, dice, "terminate", 60)
    await day.active(who, ticket["id"])
    await day.intruder.poison(ticket["id"])
    path = f"/v1/tickets/{ticket['id']}/terminate"
    reply = await day.person("root").call("POST", path, {"reason": "drill"}, patience=PATIENCE_S)
    if reply.status == 202:
        day.outcome.stopped_at[ticket["id"]] = reply.answered


async def _ignored(day: Day, dice: random.Random) -> None:
    who, account, set_name = day.pick(dice)
    ends = datetime.now(UTC) + timedelta(seconds=dice.uniform(15, 30))
    ticket, _ = await day.submit(who, "ignored", day.body([account], set_name, ends_at=ends.isoformat()))
    voters = [stage[0] for stage in _stages_of(day.fleet, account)]
    await day.intruder.approve(ticket, voters, until=ends)


async def _automatic(day: Day, dice: random.Random) -> None:
    who, seconds = dice.choice(["ann", "bob", "eve"]), dice.randint(15, 40)
    account = dice.choice(day.accounts["sandbox"])
    body = day.body([account], ASKED_FOR[2], duration=f"PT{seconds}S")
    ticket, reply = await day.submit(who, "automatic", body)
    # Approved by rule some time after the submit: bounded by how long the events may take to arrive.
    day.allow(ticket, reply.sent, reply.answered + PATIENCE_S + seconds, sure=reply.sent + seconds)


async def _others(day: Day, dice: random.Random) -> None:
    accounts = dice.sample(day.accounts["dev"], 2)
    people = dice.sample(["ann", "eve"], dice.randint(1, 2))
    body = day.body(accounts, ASKED_FOR[1], duration="PT40S", beneficiaries=people)
    ticket, submitted = await day.submit("bob", "others", body)
    _, answered = await day.decide(ticket)
    day.outcome.approved_at[ticket["id"]] = answered
    # Each target's own last vote opened its window: the first of them may be long before the last.
    day.allow(ticket, submitted.answered, answered + 40, sure=submitted.answered + 40)


_JOBS = {
    "run": _run,
    "overlap": _overlap,
    "scheduled": _scheduled,
    "reject": _reject,
    "withdraw": _withdraw,
    "return": _return,
    "terminate": _terminate,
    "ignored": _ignored,
    "automatic": _automatic,
    "others": _others,
}
