"""The whole provisioner in virtual time: its real code on PostgreSQL and on the simulator, one clock for all.

Time moves only by `Lab.run`, which steps the expiry producer and the engine. What is true is read from
the simulator's own record of assignments, never from the provisioner's word.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import SecretStr

from services.provisioner.__main__ import Replica, assemble, build
from services.provisioner.consumers import subscriptions
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.calls import unlimited
from services.provisioner.identity_center.types import Credentials, Limiter
from services.provisioner.settings import ProvisionerSettings
from services.provisioner.store import schedule
from shared.context import Context
from shared.contracts import documents as doc
from shared.contracts import ticket as tk
from shared.contracts.access import AccessFact
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.clock import ManualClock
from shared.messaging import inbox
from shared.messaging.envelope import Received
from shared.runtime.service import Process, Service
from simulator.controls import Controls
from simulator.server import Simulator
from tests.support import organisation
from tests.support.harness import NOW, empty, mark, ready_tables, said, with_pool
from tests.support.provisioner_facts import OtherServices
from tests.support.signing import key_settings

ACCOUNTS = ("orders-prod", "orders-dev", "sandbox-01", "sandbox-02", "management", "old-webshop")
SETS = ("ReadOnly", "Administrator", "BreakGlass", "Developer")
PEOPLE = ("ann", "bob", "eve", "leaver")
APPROVERS = ("carl", "dora")
EMPTIED = (
    "claim", "assignment", "extension", "witness", "stop", "stop_of_all",
    "outbox", "inbox", "dead_letter", "idempotency_key", "binding", "binding_conflict",
    "inventory_part", "inventory_missing",
)  # fmt: skip

FactT = TypeVar("FactT", bound=AccessFact)


class SharedClock:
    """The simulator's clock: it goes with ours, and nobody sets it."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock

    def now(self) -> float:
        return (NOW + self.clock.elapsed()).timestamp()


@dataclass
class Lab(OtherServices):
    """One provisioner with one replica `current`; `replica` makes others on the same database."""

    aws: Simulator
    service: Service
    settings: ProvisionerSettings
    documents: dict[str, list[doc.Document]]
    current: Replica = field(init=False)
    nudges: int = 0
    _centres: list[IdentityCenter] = field(default_factory=list)

    @property
    def context(self) -> Context:
        return self.service.context

    async def take(self, *events: Received[Any]) -> None:
        """Hand events to the consumers' commands, as the consumer would: once, in a unit of work."""
        for event in events:
            async with self.context.unit_of_work() as work:
                await self._handle(work, event)

    async def take_and_break(self, event: Received[Any]) -> None:
        """The same, with a RuntimeError before the commit."""
        async with self.context.unit_of_work() as work:
            await self._handle(work, event)
            raise RuntimeError("broken before the commit")

    async def _handle(self, work: UnitOfWork, event: Received[Any]) -> None:
        table = {cls: handler for one in subscriptions(self.context) for cls, handler in one.handlers.items()}
        if await inbox.claim(work.conn, [event], now=self.now):
            await table[type(event.event)](work, event)

    async def approve(self, ticket: tk.Ticket) -> tk.Ticket:
        await self.take(self.witness(ticket), self.approval(ticket))
        return ticket

    async def extend(self, ticket: tk.Ticket, *, seconds: float, **changes: Any) -> tk.Ticket:
        """The ticket with a further extension, which both services have said was approved."""
        later = self.extended(ticket, seconds=seconds, **changes)
        await self.take(self.extension_witness(later), self.extension_approval(later))
        return later

    # time

    async def run(self, seconds: float, *, step: float | None = None) -> None:
        """Let virtual time pass, stepping the expiry producer and the engine.

        Without `step` time jumps to whatever is next: as the timers of the real loops do.
        """
        ends = self.now + timedelta(seconds=seconds)
        while True:
            await self.current.expiry.step()
            await self.current.engine.step()
            if self.now >= ends:
                return
            pause = timedelta(seconds=step) if step else await self._pause()
            self.clock.advance(min(pause, ends - self.now))

    async def run_until(self, cls: type[FactT], *, within: float = 120) -> FactT:
        """The next fact of that class to be said; time passes until it is."""
        before = len(await self.said(cls))
        ends = self.now + timedelta(seconds=within)
        while self.now < ends:
            await self.run(0)
            if len(facts := await self.said(cls)) > before:
                return facts[before]
            self.clock.advance(await self._pause())
        raise AssertionError(f"no {cls.TYPE} within {within} s; said: {await self.story()}")

    async def _pause(self) -> timedelta:
        """To the next end or due assignment; a second while AWS works; ten seconds at most."""
        async with self.context.pool.acquire() as conn:
            if await schedule.in_flight(conn):
                return timedelta(seconds=1)
            moments = [await schedule.next_due(conn), await schedule.next_end(conn)]
        left = [moment - self.now for moment in moments if moment is not None]
        return max(min([*left, timedelta(seconds=10)]), timedelta(seconds=0.2))

    # what came of it

    async def said(self, cls: type[FactT]) -> list[FactT]:
        return [fact for fact in await said(self.service, cls) if isinstance(fact, cls)]

    async def story(self, ticket: tk.Ticket | None = None) -> list[str]:
        """The facts in short, in order: `granted`, `failed(set_changed)`..."""
        facts = [fact for fact in await said(self.service) if isinstance(fact, AccessFact)]
        return [_short(fact) for fact in facts if ticket is None or fact.ticket_id == ticket.id]

    def holds(self, user: str = "ann", account: str = "orders-prod", name: str = "ReadOnly") -> bool:
        """Whether AWS in truth has the assignment now."""
        return any(
            (row.principal, row.account, row.permission_set)
            == (self.user(user), self.account(account), self.arn(name))
            for row in self.aws.assignments()
        )

    def presence(self) -> list[tuple[str, datetime, datetime | None]]:
        """(key, from, until) of every time an assignment was there that JIT's calls or others made."""
        self.aws.assignments()
        spans: list[tuple[str, datetime, datetime | None]] = []
        began: dict[str, datetime] = {}
        for row in self.aws.records.history:
            if row["cause"] == "standing":
                continue
            key = f"{row['principal']}/{row['account']}/{row['permission_set']}"
            at = datetime.fromtimestamp(row["time"], UTC)
            if row["event"] == "appeared":
                began[key] = at
            elif key in began:
                spans.append((key, began.pop(key), at))
        return spans + [(key, at, None) for key, at in began.items()]

    def calls(self, operation: str) -> int:
        return sum(row["operation"] == operation for row in self.aws.records.calls)

    def alerts(self) -> set[str]:
        return {alert.key.split("/")[0] for alert in self.context.alerts.active}

    async def row(self, user: str = "ann", account: str = "orders-prod") -> dict[str, Any]:
        """The assignment's row."""
        found = await self.context.pool.fetchrow(
            "SELECT * FROM assignment WHERE user_id = $1 AND account_id = $2",
            self.user(user), self.account(account),
        )  # fmt: skip
        return dict(found or {})

    # organisation in the tables, which is not read from the simulator while a test runs

    def replace_document(self, owner: str, *documents: doc.Document) -> None:
        """New revisions of documents reach this replica, with their marker."""
        for document in documents:
            owned = self.documents[owner]
            newest = max(known.revision for known in owned) + 1
            changed = document.model_copy(update={"revision": newest})
            self.documents[owner] = [known for known in owned if known.key != changed.key] + [changed]
            self.context.policy.take(owner, changed)
        mark(self.context.policy, owner, self.documents[owner], at=self.now)

    def replace_members(self, group: str, *user_ids: str) -> None:
        """These are in the group from now on, and nobody else."""
        self.replace_document("provisioner", *organisation.members(group, *user_ids))

    # replicas

    def replica(self, name: str, *, centre: IdentityCenter | None = None) -> Replica:
        """Another engine; with `centre`, one that speaks through a connection that is there already."""

        def connect(_: ProvisionerSettings, limiter: Limiter) -> IdentityCenter:
            if centre is None:
                return self._connect(limiter)
            centre._calls._limiter = limiter
            return centre

        settings = self.settings.model_copy(update={"replica": name})
        return assemble(self.context, settings, identity_center=connect, jitter=lambda: 0.5)

    def _connect(self, limiter: Limiter) -> IdentityCenter:
        centre = connected(self.aws, limiter)
        self._centres.append(centre)
        return centre

    def _count_nudge(self, *_ids: int) -> None:
        self.nudges += 1

    async def close(self) -> None:
        await self.current.engine.stop()
        for centre in self._centres:
            await centre.close()


def connected(aws: Simulator, limiter: Limiter) -> IdentityCenter:
    return IdentityCenter(
        region="eu-central-1", endpoint=aws.url, credentials=Credentials("AKIDEXAMPLE", "made-up"),
        limiter=limiter,
    )  # fmt: skip


@dataclass
class Premises:
    """What a session's labs share, since it takes long to make: the simulator and one connection to it."""

    dsn: str
    admin_dsn: str
    aws: Simulator
    aws_clock: SharedClock
    centre: IdentityCenter
    digests: dict[str, str]


@asynccontextmanager
async def premises(admin_dsn: str, dsn: str) -> AsyncIterator[Premises]:
    clock = SharedClock(ManualClock(NOW))
    async with Simulator(clock=clock).serve() as aws:
        centre = connected(aws, unlimited)
        try:
            aws.change_settings(rate_per_second={})
            digests = {name: await digest_of(aws, centre, name) for name in SETS}
            yield Premises(dsn, admin_dsn, aws, clock, centre, digests)
        finally:
            await centre.close()


@asynccontextmanager
async def laboratory(shared: Premises, **settings: Any) -> AsyncIterator[Lab]:
    """An emptied database, a fresh organisation with operations of 2 to 4 seconds, no rate limit."""
    await begin_anew(shared.admin_dsn, shared.dsn)
    clock = shared.aws_clock.clock = ManualClock(NOW)
    shared.aws.reset()
    shared.aws.change_settings(rate_per_second={})
    documents = organisation_of(shared.aws, shared.digests)
    configured = ProvisionerSettings(
        env="development",
        database_url=SecretStr(shared.dsn),
        **key_settings("provisioner"),
        replica="one",
        calls_per_second=None,
        **settings,
    )
    service = build(configured, process=Process(clock, ready_tables(clock, documents)))
    async with with_pool(service):
        lab = Lab(clock, shared.aws, shared.digests, service, configured, documents)
        service.context.nudge = lab._count_nudge
        lab.current = lab.replica("one", centre=shared.centre)
        try:
            yield lab
        finally:
            await lab.close()


async def begin_anew(admin_dsn: str, dsn: str) -> None:
    """As a new database."""
    lease = "UPDATE lease SET holder = 'nobody', epoch = 0, deadline = 'epoch'"
    pause = "UPDATE grant_pause SET since = NULL, actor = NULL, why = NULL"
    await empty(admin_dsn, dsn, *EMPTIED, reset=f"{lease}; {pause}")


async def digest_of(aws: Controls, centre: IdentityCenter, name: str) -> str:
    found = await centre.set_digest(aws.directory.find_set(name).arn)
    assert found is not None
    return found


def organisation_of(aws: Controls, digests: Mapping[str, str]) -> dict[str, list[doc.Document]]:
    """The documents of a few accounts, sets and people of the simulated organisation; dev may ask for all."""
    directory = aws.directory
    accounts = [directory.find_account(name) for name in ACCOUNTS]
    sets = [directory.find_set(name) for name in SETS]
    people = [directory.find_user(name) for name in PEOPLE]
    approvers = [directory.find_user(name) for name in APPROVERS]
    inventory: list[doc.Document] = [
        *(
            doc.Account(id=found.id, name=found.name, state="ACTIVE", management=found.name == "management")
            for found in accounts
        ),
        *(
            doc.PermissionSet(
                id=found.arn.rsplit("/", 1)[1], arn=found.arn, name=found.name, digest=digests[found.name]
            )
            for found in sets
        ),
        *(doc.User(id=found.id, user_name=found.user_name) for found in (*people, *approvers)),
        doc.Group(id="group-dev", name="dev"),
        doc.Group(id="group-owners", name="owners"),
        *doc.Membership.shards("group-dev", (found.id for found in people)),
        *doc.Membership.shards("group-owners", (found.id for found in approvers)),
    ]
    catalog: list[doc.Document] = [
        *(
            doc.RegisteredAccount(id=found.id, protected_override=found.name == "management")
            for found in accounts
        ),
        *(doc.RegisteredSet(id=found.arn.rsplit("/", 1)[1]) for found in sets),
        doc.AccessScope(
            id="all", name="all", subjects=("group:group-dev",), accounts="*", sets="*",
            max_duration=timedelta(hours=8),
        ),
    ]  # fmt: skip
    rule = doc.ApprovalRule(
        id="all", name="all", accounts="*", sets="*",
        stages=(doc.RuleStage(approvers=("group:group-owners",)),),
    )  # fmt: skip
    owned: dict[str, list[doc.Document]] = {"provisioner": inventory, "ticket": catalog, "approval": [rule]}
    return {owner: organisation.numbered(documents) for owner, documents in owned.items()}


def _short(fact: AccessFact) -> str:
    name = fact.TYPE.split(".")[1]
    detail = getattr(fact, "code", None) or getattr(fact, "cause_of_end", None)
    return f"{name}({detail})" if detail else name
