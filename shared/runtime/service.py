"""The service factory: FastAPI, consumers, relay and background tasks around one context.

HTTP answers from the first moment (`/livez` 200, `/readyz` 503); database and broker are waited for
with retries, in that order, and let go in reverse. The only place where these parts are put together.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, cached_property, partial

import asyncpg
from fastapi import APIRouter, FastAPI
from structlog.contextvars import bound_contextvars

from shared.configuration.kinds.every import kinds_of
from shared.configuration.routes import router as configuration_router
from shared.context import Context
from shared.contracts import topics
from shared.contracts.event import Event
from shared.database.pool import LOST_DATABASE, create_pool
from shared.database.retention import Rule, forget_for_ever
from shared.database.schema import missing_migrations
from shared.database.unit_of_work import UnitOfWork
from shared.documents.tables import Tables
from shared.foundation.clock import Clock, ManualClock
from shared.foundation.settings import ServiceSettings
from shared.http import openapi
from shared.http.admission import Admission
from shared.http.bodies import BodyGuard
from shared.http.methods import Methods
from shared.http.problems import BugGuard, install_errors
from shared.http.refusals import Refusals, keep_recording, record_refusal, record_rest
from shared.http.routers import add_routers
from shared.identity.bindings import FirstSight
from shared.identity.first_sight import Provisioner
from shared.identity.tokens import TokenVerifier
from shared.messaging import kafka, outbox, retention
from shared.messaging.consumer import make_consumer
from shared.messaging.keys import OwnKey, PublicKeys
from shared.messaging.relay import Relay
from shared.messaging.signing import Signer, Trust
from shared.messaging.subscription import Subscription
from shared.observability import metrics, tracing
from shared.observability.alerts import make_alerts
from shared.observability.logs import logger
from shared.policy.policy import Policy
from shared.runtime import probes
from shared.runtime.operations import operations_router
from shared.runtime.publishing import Publisher
from shared.runtime.watch import Watch

SETTLED_AFTER_S = 30.0
"""A restarted task that has run so long works again: its alert is cleared, its next delay is short."""
LOST_TOO_OFTEN = 3
"""A database that went away for a moment is no alert; one that stays away is."""
STOP_WITHIN_S = 30.0
FINISH_WITHIN_S = 20.0
"""For the records in hand; what is not done by then is delivered again."""


log = logger("service")

Task = tuple[str, Callable[[], Awaitable[None]]]
"""A name and a coroutine function that runs until cancelled; one that ends is started again."""


@dataclass
class Parts:
    """What makes one service different from another; each is a function of the context."""

    routers: Callable[[Context], Sequence[APIRouter]] = lambda _context: ()
    subscriptions: Callable[[Context], Sequence[Subscription]] = lambda _context: ()
    background: Callable[[Context], Sequence[Task]] = lambda _context: ()
    first_sight: Callable[[Context], FirstSight] | None = None
    """Says whom a subject is that no document names, where that is not the provisioner's to be asked."""
    retention: Sequence[Rule] = ()
    """When rows of its own tables are forgotten."""
    record: Callable[[UnitOfWork, Event], None] | None = None
    """Where facts outside commands go, where it is not the outbox."""
    linger_s: float = 0.0
    """How long what it says may wait for more of it, where nobody waits for what follows."""
    closing: Callable[[], Awaitable[None]] | None = None
    """Lets go of what the service itself opened (clients)."""


@dataclass(frozen=True)
class Process:
    """What the services of one process share: the embedded run has five of them, production one."""

    clock: Clock
    tables: Tables | None = None
    watches_tables: str | None = None
    """The service that alerts when the process's tables are refused, left out or stale."""


class Service:
    """One service, ready to be served (`app`), and started and stopped by whoever serves it."""

    def __init__(
        self, name: str, settings: ServiceSettings, parts: Parts, *, process: Process | None = None
    ) -> None:
        process = process or Process(Clock())
        if isinstance(process.clock, ManualClock) and settings.env == "production":
            raise ValueError("a settable clock is for tests; production runs on the database's clock")
        self.name = name
        self.settings = settings
        self._parts = parts
        self._own_tables = process.tables is None
        keys = PublicKeys(settings.public_keys_dir)
        self._trust = Trust(settings.instance, keys)
        self._signer = Signer(settings.instance, OwnKey(name, settings.signing_key_file), keys)
        self._provisioner = Provisioner(settings.provisioner_url or settings.public_url)
        self.context = self._make_context(name, settings, process)
        if parts.first_sight is not None:
            self.context.first_sight = parts.first_sight(self.context)
        self.consumer = make_consumer(
            name,
            parts.subscriptions(self.context),
            clock=process.clock,
            trust=self._trust,
            alerts=self.context.alerts,
            begin=self.context.unit_of_work,
        )
        self.relay = Relay(
            signer=self._signer,
            dsn=settings.direct_database_url,
            producer=lambda: kafka.producer(settings.kafka, client_id=f"jit-{name}-relay"),
            clock=process.clock,
            linger_s=parts.linger_s,
        )
        self.context.wake_relay = self.relay.wake
        self._publisher: Publisher | None = None
        if any(topic.owner == name for topic in topics.COMPACTED):
            self._publisher = Publisher(self.context)
            self.context.republish = self._publisher.republish
        self._watch = Watch(
            self.context,
            self.relay,
            self.consumer,
            tables=self._own_tables or process.watches_tables == name,
        )
        self.refusals = Refusals()
        self._tasks: list[asyncio.Task[None]] = []
        self._problem: str | None = "starting"

    def _make_context(self, name: str, settings: ServiceSettings, process: Process) -> Context:
        stale_after = timedelta(seconds=settings.table_stale_after_s)
        policy = Policy(
            settings.roles,
            clock=process.clock,
            stale_after=stale_after,
            directory_stale_after=timedelta(seconds=settings.directory_stale_after_s),
        )
        tables = process.tables or Tables(policy=policy, settings=settings.kafka, trust=self._trust)

        def record(work: UnitOfWork, event: Event) -> None:
            outbox.append(work, name, event)

        return Context(
            service=name,
            settings=settings,
            clock=process.clock,
            alerts=make_alerts(name, settings, process.clock),
            tables=tables,
            verifier=TokenVerifier(settings.issuers, production=settings.env == "production"),
            record=self._parts.record or record,
            first_sight=self._provisioner.first_sight,
        )

    @cached_property
    def app(self) -> FastAPI:
        app = FastAPI(
            title=f"JIT {self.name}",
            version="1",
            lifespan=self._lifespan,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
        )
        app.state.context = self.context
        app.openapi = cache(lambda: openapi.document(app, service=self.name))  # type: ignore[method-assign]
        # The last one added comes first.
        app.add_middleware(BodyGuard, within_s=self.settings.request_within_s)
        app.add_middleware(Admission, context=self.context)
        app.add_middleware(Methods, routes=app.routes)
        app.add_middleware(BugGuard)
        app.add_middleware(probes.RequestScope, service=self.name)
        install_errors(app, on_refusal=partial(record_refusal, self.context, self.refusals))
        kinds = [configuration_router(self.context, kind) for kind in kinds_of(self.name)]
        operations = operations_router(self.context, self.consumer)
        add_routers(app, [probes.router(self), *kinds, *self._parts.routers(self.context), operations])
        return app

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    def check_keys(self) -> None:
        """Raises KeyProblem where this service could not say anything that the others believe."""
        self._signer.check()

    async def start(self) -> None:
        """Begin to work in the background; returns at once. `problem()` tells when it is there.

        Raises KeyProblem before anything is begun.
        """
        self.check_keys()
        tracing.configure(service=self.name, endpoint=self.settings.otlp_endpoint)
        self._spawn("supervise", self._bring_up, once=True)
        self._spawn("alerts", self.context.alerts.run)

    async def stop(self) -> None:
        """Consumers first, then background work and relay, then the pool; bounded."""
        self._problem = "stopping"
        await self._end(self._tasks[:1])  # what is still starting must not start while we stop
        await self.consumer.stop(within_s=FINISH_WITHIN_S)
        await self._end(self._tasks)
        self._tasks.clear()
        await self._provisioner.close()
        if self._parts.closing is not None:
            await self._parts.closing()
        if self.context.has_pool:
            await record_rest(self.context, self.refusals)
            await _close_pool(self.context)

    async def _end(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        if tasks:
            _, hanging = await asyncio.wait(tasks, timeout=STOP_WITHIN_S)
            for task in hanging:
                log.error("task does not stop", service=self.name, task=task.get_name())

    def problem(self) -> str | None:
        """Why this service cannot do its work right now; None when it can."""
        if self._problem:
            return self._problem
        if self.consumer.topics and not self.consumer.assigned():
            return f"no partitions of {', '.join(self.consumer.topics)} are assigned"
        if self.relay.state == "down":
            return "the relay neither holds its lock nor waits for it"
        if self._publisher is not None and self._publisher.problem:
            return self._publisher.problem
        if not self.context.policy.ready:
            return f"tables: waiting for {self.context.policy.waits_for}"
        return None

    # bringing up, in order

    async def _bring_up(self) -> None:
        try:
            await self._bring_up_in_order()
        except Exception as error:
            # Absent servers are waited for; whatever else goes wrong is a bug and must not be silent.
            self._problem = f"cannot start, this is a bug: {type(error).__name__}"
            log.exception("service cannot start", service=self.name)
            await self.context.alerts.raise_alert(
                key="start", summary=f"{self.name} cannot start", detail=f"{type(error).__name__}: {error}"
            )

    async def _bring_up_in_order(self) -> None:
        await self._until_done("database", self._connect_database)
        self._spawn("relay", self.relay.run)
        if self._own_tables:
            self._spawn("tables", self.context.tables.run)
        if self._publisher is not None:
            self._spawn("documents", self._publisher.run)
        self._spawn("clock", self._keep_clock)
        self._spawn("refusals", lambda: keep_recording(self.context, self.refusals))
        self._spawn("retention", self._forget)
        self._spawn("watch", self._watch.run)
        for task_name, run in self._parts.background(self.context):
            self._spawn(task_name, run)
        if self.consumer.topics:
            await self._until_done("broker", partial(self.consumer.start, self.settings.kafka))
        self._problem = None
        log.info("service is up", service=self.name)

    async def _until_done(self, what: str, step: Callable[[], Awaitable[None]]) -> None:
        delay = 0.2
        self._problem = f"waiting for the {what}"
        while True:
            try:
                await step()
            except Exception as error:  # noqa: BLE001 (absent servers are waited for, whatever they say)
                self._problem = f"waiting for the {what}: {type(error).__name__}"
                log.warning("waiting", service=self.name, what=what, error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)
            else:
                return

    async def _connect_database(self) -> None:
        url = self.settings.database_url.get_secret_value()
        # A pooler's backends serve everybody in turn.
        own = self.relay.own_backends if url == self.settings.direct_database_url else None
        pool = await create_pool(url, size=self.settings.pool_size, backends=own)
        try:
            async with pool.acquire() as conn:
                if missing := await missing_migrations(conn, self.name):
                    raise asyncpg.UndefinedTableError(
                        f"run `jit migrate` first: {', '.join(missing)} not applied"
                    )
                await self.context.clock.sync(conn)
        except BaseException:
            pool.terminate()
            raise
        self.context.set_pool(pool)

    # staying up

    def _spawn(self, task_name: str, run: Callable[[], Awaitable[None]], *, once: bool = False) -> None:
        keep = run() if once else self._keep(task_name, run)
        with bound_contextvars(service=self.name, task=task_name):  # a task keeps the context it is made in
            self._tasks.append(asyncio.create_task(_as_coroutine(keep), name=f"{self.name}/{task_name}"))

    async def _keep(self, task_name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run for ever; a crash is loud and the task starts again."""
        delay, lost = 0.5, 0
        while True:
            started = asyncio.get_running_loop().time()
            try:
                async with self._settling(task_name):
                    await run()
            except LOST_DATABASE as error:
                lost += 1
                log.warning("waits for the database", service=self.name, task=task_name, error=str(error))
                if lost >= LOST_TOO_OFTEN:
                    await self._alert_task(task_name, error)
            except Exception as error:
                log.exception("background task failed", service=self.name, task=task_name)
                await self._alert_task(task_name, error)
            if asyncio.get_running_loop().time() - started > SETTLED_AFTER_S:
                delay, lost = 0.5, 0
            await asyncio.sleep(delay)
            delay = min(delay * 2, 30.0)

    async def _alert_task(self, task_name: str, error: Exception) -> None:
        await self.context.alerts.raise_alert(
            key=f"task/{task_name}",
            summary=f"{self.name}: the task {task_name} fails and is started again",
            detail=f"{type(error).__name__}: {error}",
        )

    @asynccontextmanager
    async def _settling(self, task_name: str) -> AsyncIterator[None]:
        """Clear the task's alert once it has run for a while; a loop that ends never would say so itself."""

        async def clear() -> None:
            await asyncio.sleep(SETTLED_AFTER_S)
            await self.context.alerts.clear(f"task/{task_name}")

        clearing = asyncio.create_task(clear())
        try:
            yield
        finally:
            clearing.cancel()

    async def _forget(self) -> None:
        rules = (*retention.RULES, *self._parts.retention)
        await forget_for_ever(self.context.pool, self.context.clock, rules)

    async def _keep_clock(self) -> None:
        while True:
            await asyncio.sleep(30)
            async with self.context.pool.acquire() as conn:
                offset = await self.context.clock.sync(conn)
            metrics.CLOCK_OFFSET.labels(self.name).set(offset.total_seconds())


async def _as_coroutine(awaitable: Awaitable[None]) -> None:
    await awaitable


async def _close_pool(context: Context) -> None:
    pool = context.pool
    context.set_pool(None)
    try:
        async with asyncio.timeout(5):
            await pool.close()
    except TimeoutError:
        pool.terminate()
