"""`make model`: the real provisioner under every schedule that there is time for; JSON lines.

Small worlds are walked whole with one choice in each schedule, then with two, drawn at random; large ones
are drawn by seed. Exits 1 when anything that must never happen did. docs/model.md tells the rest.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from model import work
from model.explore import Walk, worlds
from model.kept import as_json, keep, load
from model.sabotage import MUTANTS, Mutant
from tests.support.servers import database_server

KEPT = Path("data/model")


def main() -> int:
    options = _options()
    with database_server() as admin_dsn:
        if options.replay:
            return _replay(admin_dsn, options)
        if options.planted:
            return _planted(admin_dsn, options)
        walks = _walk(admin_dsn, options, mutant=options.mutant)
    return 1 if any(walk.violations for walk in walks) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m model", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="for all of it")
    parser.add_argument("--seed", type=int, default=1, help="of the first random schedule")
    parser.add_argument("--world", action="append", help="a small one, or `random`; may be repeated")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--keep", type=Path, default=KEPT, help="folder for schedules that fail")
    parser.add_argument("--pairs", action="store_true", help="also two choices in a small world, at random")
    parser.add_argument("--most", type=int, help="random schedules per process")
    parser.add_argument("--replay", type=Path, help="a kept schedule; prints what happens")
    parser.add_argument("--mutant", choices=MUTANTS, help="put this fault in first")
    parser.add_argument("--known", action="append", default=[], help="pass over what breaks this rule")
    parser.add_argument("--planted", action="store_true", help="every mutant in turn must be found")
    return parser.parse_args()


@contextmanager
def _pool(admin_dsn: str, options: argparse.Namespace, mutant: str | None) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(
        options.jobs,
        mp_context=get_context("spawn"),
        initializer=work.begin,
        initargs=(admin_dsn, mutant, tuple(options.known)),
    ) as pool:
        yield pool


def _walk(admin_dsn: str, options: argparse.Namespace, *, mutant: str | None) -> list[Walk]:
    wanted = options.world or [*worlds(), "random"]
    ends = time.time() + options.seconds
    done = []
    with _pool(admin_dsn, options, mutant) as pool:
        for number, world in enumerate(wanted):
            left = (ends - time.time()) / (len(wanted) - number)
            for walk in _of_world(pool, world, options, until=time.time() + left):
                _print(pool, walk, options.keep)
                done.append(walk)
    return done


def _of_world(
    pool: ProcessPoolExecutor, world: str, options: argparse.Namespace, *, until: float
) -> Iterator[Walk]:
    jobs = range(options.jobs)
    if world == "random":
        yield Walk.joined(
            pool.submit(work.random_worlds, options.seed + job, options.jobs, options.most, until).result
            for job in jobs
        )
        return
    yield Walk.joined(pool.submit(work.small, world, job, options.jobs, until).result for job in jobs)
    if options.pairs:
        yield Walk.joined(pool.submit(work.pairs, world, options.seed + job, until).result for job in jobs)


def _print(pool: ProcessPoolExecutor, walk: Walk, folder: Path) -> None:
    print(json.dumps(walk.line()), flush=True)
    for rule, (world, schedule, what) in walk.failures.items():
        small = pool.submit(work.shrink, world, schedule, rule).result()
        found = as_json(world, small, rule=rule, what=what)
        print(json.dumps(found | {"kept": str(keep(folder, found))}), flush=True)


def _replay(admin_dsn: str, options: argparse.Namespace) -> int:
    world, schedule = load(options.replay)
    work.begin(admin_dsn, options.mutant, tuple(options.known))
    run = work.replay(world, schedule)
    work.end()
    for line in run.story:
        print(line, file=sys.stderr)
    wrong = [{"rule": one.rule, "what": one.what} for one in run.violations]
    unmet = [key for key in schedule if key not in run.schedule]
    print(json.dumps({"world": world, "violations": wrong, "unmet": unmet, "seconds": run.seconds}))
    return 1 if wrong else 0


def _planted(admin_dsn: str, options: argparse.Namespace) -> int:
    """One line per mutant: the rule it broke, and by which schedule, which the product itself passes."""
    unseen = 0
    with _pool(admin_dsn, options, None) as product:
        for name, mutant in MUTANTS.items():
            until = time.time() + options.seconds / len(MUTANTS)
            try:
                mutant.plant()
            except AttributeError as error:
                print(json.dumps({"mutant": name, "not_planted": str(error)}), flush=True)
                continue
            with _pool(admin_dsn, options, name) as broken:
                found = _hunt(broken, product, mutant, options, until=until)
            unseen += found is None
            print(json.dumps({"mutant": name, "found": found}), flush=True)
    return 1 if unseen else 0


def _hunt(
    broken: ProcessPoolExecutor,
    product: ProcessPoolExecutor,
    mutant: Mutant,
    options: argparse.Namespace,
    *,
    until: float,
) -> dict[str, Any] | None:
    """A schedule that goes wrong with the mutant and not without it."""
    known = {*options.known, *mutant.known}
    for world in mutant.worlds:
        while time.time() < until:
            walk = Walk.joined(
                broken.submit(work.hunt, world, job, options.jobs, until, tuple(known), mutant.first).result
                for job in range(options.jobs)
            )
            for rule, (_, schedule, what) in walk.failures.items():
                if not product.submit(work.replay, world, schedule, tuple(known)).result().violations:
                    return as_json(world, schedule, rule=rule, what=what)
                known.add(rule)
            if not walk.failures:
                break
    return None


if __name__ == "__main__":
    sys.exit(main())
