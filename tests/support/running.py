"""The running stack as e2e tests use it: who calls the five services, and what is seen of them from outside.

Made by tests/support/stack.py. Truth comes from the simulator's records, the mailbox and the audit log.
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import httpx2
from aiokafka import AIOKafkaProducer

from local.mailbox import Mail
from local.page import AUDIENCE
from local.stack import Stack
from services.notifier.domain.delivery import thread_id
from shared.foundation.clock import Clock
from shared.text.durations import format_duration
from tests.support import waiting
from tests.support.key_server import KeyServer, claims, sign
from tests.support.person import Person

PATIENCE_S = 90.0
"""How long anything is waited for; seconds are usual, a loaded machine takes its time."""
EVERY_S = 0.25
DEVELOPERS_SETS = ("Developer", "PowerUser", "DatabaseAdmin", "SystemAdmin")
"""What no scope of the demo denies ann anywhere outside production."""
OPERATIONS = "operations@example.com"
REASON = "needed for the release, see the plan"


async def until(
    condition: Callable[[], object | Awaitable[object]], timeout_s: float = PATIENCE_S, *, what: str = ""
) -> None:
    """As waiting.until, at an unhurried pace: many wait at once, and in the services' own process."""

    async def now_and_then() -> object:
        found = condition()
        found = await found if inspect.isawaitable(found) else found
        if not found:
            await asyncio.sleep(EVERY_S)
        return found

    await waiting.until(now_and_then, timeout_s, what=what or getattr(condition, "__qualname__", ""))


def as_read(review: Mapping[str, Any]) -> dict[str, str]:
    """The header of a vote on this version of the review."""
    return {"If-Match": f'"{review["version"]}"'}


@dataclass
class Running:
    """The stack with its callers and witnesses. Everything about AWS comes from the simulator's truth."""

    stack: Stack
    client: httpx2.AsyncClient
    other_issuer: KeyServer
    other_key: Any
    brief: timedelta
    """A window whose end is waited for; longer on a slow machine, for all has to be done within it."""
    _spare: dict[str, Iterator[str]] = field(default_factory=dict)
    _places: dict[str, Iterator[tuple[str, str]]] = field(default_factory=dict)

    # callers

    def person(self, name: str, **token_claims: Any) -> Person:
        return Person(self.client, name, self.stack.issuer.mint(name, **token_claims))

    def bearer(self, token: str) -> Person:
        return Person(self.client, "?", token)

    def mailed_person(self, email: str, *, verified: bool = True) -> Person:
        """Somebody of the second issuer, which names people by their mail address."""
        payload = claims(
            self.other_issuer.url,
            self.clock.now(),
            aud=AUDIENCE,
            sub=f"mail-{email}",
            email=email,
            email_verified=verified,
        )
        return self.bearer(sign(self.other_key, payload, algorithm="ES256", kid=self.other_key.kid))

    @property
    def brief_end(self) -> str:
        return (self.clock.now() + self.brief).isoformat()

    @property
    def clock(self) -> Clock:
        return self.stack.services[0].context.clock

    # names and ids

    def user_id(self, name: str) -> str:
        return self.stack.simulator.directory.find_user(name).id

    def account_id(self, name: str) -> str:
        return self.stack.simulator.directory.find_account(name).id

    def set_id(self, name: str) -> str:
        return self.stack.simulator.directory.find_set(name).arn.rsplit("/", 1)[-1]

    def spare_account(self, unit: str) -> str:
        """The name of an account below this unit that no test was given before."""
        if unit not in self._spare:
            directory = self.stack.simulator.directory
            names = (one.name for one in directory.accounts.values())
            self._spare[unit] = iter(sorted(name for name in names if self._is_below(name, unit)))
        spare = next((name for name in self._spare[unit] if name != "orders-dev"), None)
        assert spare, f"no account below {unit} is left: take several sets of one, or another unit"
        return spare

    def spare_place(self, unit: str) -> tuple[str, str]:
        """An account below this unit and a set that no test was given together: several to one account."""
        if unit not in self._places:
            accounts = (self.spare_account(unit) for _ in count())
            self._places[unit] = ((account, one) for account in accounts for one in DEVELOPERS_SETS)
        return next(self._places[unit])

    def _is_below(self, account: str, unit: str) -> bool:
        directory = self.stack.simulator.directory
        return directory.find_parent(unit) in directory.chain(directory.find_account(account).parent)

    def target(self, account: str, permission_set: str) -> dict[str, str]:
        return {"account": self.account_id(account), "set": self.set_id(permission_set)}

    # a ticket's life

    async def submit(
        self, who: str, *targets: tuple[str, str], status: int = 201, **more: Any
    ) -> dict[str, Any]:
        """A ticket for (account, set) pairs, or the problem it was answered with."""
        if isinstance(length := more.get("duration"), timedelta):
            more["duration"] = format_duration(length)
        body = {"targets": [self.target(*one) for one in targets], "reason": REASON, **more}
        made: dict[str, Any] = await self.person(who).post("/v1/tickets", body, status=status)
        return made

    async def ticket(self, ticket_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.person("aud").get(f"/v1/tickets/{ticket_id}")
        return found

    async def until_state(self, ticket_id: str, *states: str) -> dict[str, Any]:
        """Wait until the ticket is in one of these states."""
        seen: dict[str, Any] = {}

        async def reached() -> bool:
            seen.update(await self.ticket(ticket_id))
            return seen["state"] in states

        try:
            await until(reached, PATIENCE_S)
        except AssertionError:
            grants = [(one["state"], one["code"], one["detail"]) for one in seen.get("grants", ())]
            raise AssertionError(f"{ticket_id} is {seen.get('state')} {grants}, not {states}") from None
        return seen

    def approver_of_development(self) -> str:
        """Somebody who may decide on development besides bob, for what bob asks for."""
        directory = self.stack.simulator.directory
        members = directory.members_of(directory.find_group("owners-dev").id)
        return min(directory.users[one.user].user_name for one in members)

    async def waiting_reviews(self, who: str, ticket_id: str) -> list[dict[str, Any]]:
        """Reviews of the ticket that this person may decide now; waits until there is one."""
        person, found = self.person(who), list[dict[str, Any]]()

        async def may_decide() -> bool:
            answer = await person.call("GET", f"/v1/tickets/{ticket_id}/reviews")
            items = answer.json()["items"] if answer.status_code == 200 else []
            found[:] = [one for one in items if one["you_may_decide"]]
            return bool(found)

        await until(may_decide, PATIENCE_S, what=f"a review of {ticket_id} waits for {who}")
        return found

    async def decide(
        self, who: str, ticket_id: str, verdict: str = "approve", *, comment: str = "looked at it"
    ) -> list[dict[str, Any]]:
        """Vote on everything of the ticket that waits for this person."""
        return [
            await self.person(who).post(
                f"/v1/reviews/{review['id']}/decisions",
                {"verdict": verdict, "comment": comment},
                status=201,
                headers=as_read(review),
            )
            for review in await self.waiting_reviews(who, ticket_id)
        ]

    async def granted(
        self, who: str, *targets: tuple[str, str], by: Iterable[str] = (), **more: Any
    ) -> dict[str, Any]:
        """A ticket that was submitted, approved by these people in their order, and granted.

        A short window may be over before we look; the ticket is then further on.
        """
        ticket = await self.submit(who, *targets, **more)
        for approver in by:
            await self.decide(approver, ticket["id"])
        seen = await self.until_state(ticket["id"], "active", "revoking", "ended", "closed", "failed")
        assert all(grant["granted_at"] for grant in seen["grants"]), seen["grants"]
        return seen

    # AWS's truth

    def present(self, user: str, account: str, permission_set: str) -> bool:
        directory = self.stack.simulator.directory
        wanted = (
            directory.find_account(account).id,
            directory.find_set(permission_set).arn,
            "USER",
            directory.find_user(user).id,
        )
        return any(
            (one.account, one.permission_set, one.principal_type, one.principal) == wanted
            for one in self.stack.simulator.assignments()
        )

    def history(self, user: str, account: str, permission_set: str) -> list[str]:
        """`appeared` and `disappeared` of one assignment, in order."""
        self.stack.simulator.assignments()
        arn = self.stack.simulator.directory.find_set(permission_set).arn
        ids = (self.account_id(account), arn, self.user_id(user))
        return [
            row["event"]
            for row in self.stack.simulator.records.history
            if (row["account"], row["permission_set"], row["principal"]) == ids
        ]

    def calls(self, operation: str, user: str, account: str) -> list[dict[str, Any]]:
        """Calls to AWS about one person on one account, refused ones too."""
        return [
            row
            for row in self.stack.simulator.records.calls
            if row["operation"] == operation
            and row["params"].get("PrincipalId") == self.user_id(user)
            and row["params"].get("TargetId") == self.account_id(account)
        ]

    # mail

    def mails(self, ticket_id: str, *, to: str | None = None) -> list[Mail]:
        """Received messages of a ticket's thread, to one person's address when `to` names one."""
        thread = thread_id(ticket_id, domain="jit")
        address = None if to is None else self.stack.simulator.directory.find_user(to).email
        return [
            mail
            for mail in self.stack.mailbox.mails()
            if mail.thread == thread and address in {None, *mail.receipt.recipients}
        ]

    async def deliveries(self, ticket_id: str) -> list[dict[str, Any]]:
        """What the notifier made of a ticket's facts."""
        page = await self.person("root").get(f"/v1/deliveries?ticket_id={ticket_id}&limit=200")
        assert page["next_cursor"] is None
        return list(page["items"])

    async def require_told_once(self, ticket_id: str) -> None:
        """Nobody was told twice of one fact about the ticket."""
        told = [
            (uid, one["recipient"]) for one in await self.deliveries(ticket_id) for uid in one["event_ids"]
        ]
        assert len(told) == len(set(told)), told

    def alerts(self, text: str) -> list[Mail]:
        """Messages to operations that say this."""
        return [
            mail
            for mail in self.stack.mailbox.mails()
            if OPERATIONS in mail.receipt.recipients and text in " ".join((mail.text or "").split())
        ]

    async def until_mailed(self, ticket_id: str, to: str, headline: str) -> Mail:
        """The one mail with that headline about the ticket to this person."""
        found: list[Mail] = []

        def arrived() -> bool:
            found[:] = [
                mail
                for mail in self.mails(ticket_id, to=to)
                if (mail.text or "").replace("\r\n", "\n").startswith(f"{headline}\n")
            ]
            return bool(found)

        try:
            await until(arrived, PATIENCE_S, what=f"mail {headline!r} about {ticket_id} to {to}")
        except AssertionError as error:
            error.add_note(f"deliveries: {await self.deliveries(ticket_id)}")
            raise
        assert len(found) == 1, [mail.receipt for mail in found]
        return found[0]

    async def until_mailed_person(self, to: str, headline: str) -> Mail:
        """A mail with that headline to this person, about whatever."""
        address = self.stack.simulator.directory.find_user(to).email
        found: list[Mail] = []

        def arrived() -> bool:
            found[:] = [
                mail
                for mail in self.stack.mailbox.mails()
                if address in mail.receipt.recipients and (mail.text or "").startswith(headline)
            ]
            return bool(found)

        await until(arrived, PATIENCE_S, what=f"mail {headline!r} to {to}")
        return found[0]

    async def until_alerted(self, *texts: str) -> None:
        """Wait until operations were mailed each of these texts."""
        for text in texts:
            await until(partial(self.alerts, text), PATIENCE_S, what=f"an alert about {text!r}")

    # the audit log

    async def trail(self, ticket_id: str) -> list[dict[str, Any]]:
        """Everything recorded about a ticket, in the order of the log."""
        path, cursor, found = f"/v1/audit/tickets/{ticket_id}?limit=200", "", list[dict[str, Any]]()
        while True:
            answer = await self.person("aud").call("GET", path + cursor)
            if answer.status_code == 404:
                return []
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    async def codes(self, ticket_id: str, *, without: str = "notification.") -> list[str]:
        trail = await self.trail(ticket_id)
        return [code for one in trail if not (code := str(one["metadata"]["event_code"])).startswith(without)]

    async def until_recorded(self, ticket_id: str, *wanted: str) -> list[str]:
        """Wait for facts in the log, each as often as it is named; all codes recorded about the ticket.

        Audit reads each topic on its own: that one fact is there says nothing of another owner's.
        """
        seen: list[str] = []

        async def there() -> bool:
            seen[:] = await self.codes(ticket_id, without="-")
            return Counter(wanted) <= Counter(seen)

        await until(there, PATIENCE_S, what=f"{', '.join(wanted)} of {ticket_id} in the log")
        return seen

    # the bus

    @asynccontextmanager
    async def intruder(self) -> AsyncIterator[AIOKafkaProducer]:
        """Somebody who can write to every topic, whatever the ACLs are for."""
        producer = AIOKafkaProducer(bootstrap_servers=self.stack.bootstrap.split(","))
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()
