"""One process of the checker: a database and a stage of its own, and one piece of work at a time."""

import asyncio
import itertools
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from model.explore import Walk, at_random, every_choice, minimal, pairs_of_choices
from model.run import Run, Schedule, Stage, make_stage
from model.sabotage import MUTANTS
from model.worlds import World, named
from services.provisioner.domain.claims import SERVICE
from shared.database.migrate import app_role_of, migrate_database
from shared.observability import logs

_PASSWORD = "model"  # noqa: S105 (of a database that is gone in a minute)


@dataclass
class Worker:
    stage: Stage | None = None


_worker = Worker()


def begin(admin_dsn: str, mutant: str | None, known: tuple[str, ...] = ()) -> None:
    """Once per process. The database goes with its server."""
    logs.configure(fmt="json", level="CRITICAL")
    if mutant is not None:
        MUTANTS[mutant].plant()
    _worker.stage = make_stage(admin_dsn, asyncio.run(_database(admin_dsn)))
    _worker.stage.known = frozenset(known)


async def _database(admin_dsn: str) -> str:
    """A migrated one of our own; the app role's address."""
    name, parts = f"model_{secrets.token_hex(6)}", urlsplit(admin_dsn)
    await migrate_database(admin_dsn, SERVICE, database=name, password=_PASSWORD)
    place = f"{parts.hostname}:{parts.port or 5432}"
    return f"postgresql://{app_role_of(SERVICE)}:{_PASSWORD}@{place}/{name}"


def _stage() -> Stage:
    assert _worker.stage is not None, "begin() comes first"
    return _worker.stage


def small(world: str, part: int, parts: int, until: float) -> Walk:
    """Every single choice of a small world, or as many as there is time for."""
    found = named(world)
    return _walk(
        world, ((found, run) for run in every_choice(_stage(), found, part=part, parts=parts)), until
    )


def hunt(
    world: str, part: int, parts: int, until: float, known: tuple[str, ...], first: tuple[str, ...]
) -> Walk:
    """The same until something is wrong that is not known."""
    stage, found = _stage(), named(world)
    stage.known = frozenset(known)
    runs = every_choice(stage, found, part=part, parts=parts, first=first)
    return _walk(world, ((found, run) for run in runs), until, first=True)


def pairs(world: str, seed: int, until: float) -> Walk:
    found = named(world)
    return _walk(f"{world}+", ((found, run) for run in pairs_of_choices(_stage(), found, seed)), until)


def random_worlds(first: int, step: int, most: int | None, until: float) -> Walk:
    seeds = itertools.islice(itertools.count(first, step), most)
    return _walk("random", at_random(_stage(), seeds), until)


def _walk(name: str, runs: Iterator[tuple[World, Run]], until: float, *, first: bool = False) -> Walk:
    walk = Walk(name)
    for world, run in runs:
        walk.take(world, run)
        if time.time() > until or (first and walk.violations):
            walk.cut_short = True
            break
    walk.end()
    return walk


def replay(world: str, schedule: Schedule, known: tuple[str, ...] = ()) -> Run:
    """`known` besides what the process was begun with."""
    stage = _stage()
    always, stage.known = stage.known, stage.known | frozenset(known)
    try:
        return stage.play(named(world), schedule)
    finally:
        stage.known = always


def shrink(world: str, schedule: Schedule, rule: str) -> dict[tuple[str, int], str]:
    return minimal(_stage(), named(world), schedule, rule)


def end() -> None:
    with suppress(Exception):
        _stage().close()
