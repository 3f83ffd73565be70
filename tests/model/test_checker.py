"""The checker itself: it is repeatable, it finds what is put in, and what it found once is found again."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import pytest

from model import work
from model.bounds import allowance
from model.explore import Walk, worlds
from model.kept import as_json, keep, load
from model.run import Run, Schedule
from model.sabotage import MUTANTS
from model.turns import Taken

SCHEDULES = sorted((Path(__file__).parent / "schedules").glob("*.json"))
FAR = 4e9
"""A moment that no test reaches."""


@contextmanager
def workers(admin_dsn: str, mutant: str | None = None) -> Iterator[ProcessPoolExecutor]:
    """A process apart: the checker's loop and ours would be in each other's way."""
    started = {"mp_context": get_context("spawn"), "initializer": work.begin, "initargs": (admin_dsn, mutant)}
    with ProcessPoolExecutor(1, **started) as pool:
        yield pool


@pytest.fixture(scope="module")
def product(own_admin_dsn: str) -> Iterator[ProcessPoolExecutor]:
    """The product as it is."""
    with workers(own_admin_dsn) as pool:
        yield pool


@pytest.fixture(scope="module")
def broken(own_admin_dsn: str) -> Iterator[ProcessPoolExecutor]:
    """The product with claims not counted."""
    with workers(own_admin_dsn, "claim count dropped") as pool:
        yield pool


def as_schedule(choice: Taken | None) -> Schedule:
    return {} if choice is None else {choice[:2]: choice[2]}


def rules(run: Run) -> set[str]:
    return {one.rule for one in run.violations}


@pytest.mark.parametrize(
    "world",
    ["two-claims", "two-tuples", "standing", "two-replicas", "late-lists", "given-again"],
)
def test_the_usual_way_of_a_small_world_breaks_nothing(product: ProcessPoolExecutor, world: str) -> None:
    run = product.submit(work.replay, world, {}).result()
    assert run.violations == ()
    assert run.story[-1].partition("(")[0].split()[-1] in {"revoked", "released", "failed"}


def test_a_schedule_run_twice_is_the_same_run(product: ProcessPoolExecutor) -> None:
    once = product.submit(work.replay, "two-claims", {}).result()
    chosen = next(place for place in once.places if "CreateAccountAssignment" in place.at)
    schedule = {(chosen.at, chosen.nth): "crash"}
    first, second = (product.submit(work.replay, "two-claims", schedule).result() for _ in range(2))
    assert first == second
    assert first.schedule == schedule
    assert first.places != once.places


def test_a_planted_fault_is_found_and_its_schedule_is_kept_and_replayed(
    broken: ProcessPoolExecutor, product: ProcessPoolExecutor, tmp_path: Path
) -> None:
    run = broken.submit(work.replay, "two-claims", {}).result()
    assert rules(run)
    rule = run.violations[0].rule
    found = as_json("two-claims", run.schedule, rule=rule, what=run.violations[0].what)
    world, schedule = load(keep(tmp_path, found))
    assert rules(broken.submit(work.replay, world, schedule).result()) == {rule}
    assert not rules(product.submit(work.replay, world, schedule).result())


@pytest.mark.parametrize(
    ("mutant", "world", "schedule", "rule"),
    [
        ("settle time cut", "given-again", {}, "gone_while_present"),
        ("stop not remembered", "person-stopped", {}, "granted_after_stop"),
        (
            "slot snapshot stale",
            "crowd",
            {("one CreateAccountAssignment ann/orders-dev/ReadOnly answered", 1): "freeze:25"},
            "slots_exceeded",
        ),
    ],
)
def test_what_a_mutant_does_wrong_is_found_and_the_product_does_not_do_it(
    own_admin_dsn: str, product: ProcessPoolExecutor, mutant: str, world: str, schedule: Schedule, rule: str
) -> None:
    with workers(own_admin_dsn, mutant) as pool:
        assert rules(pool.submit(work.replay, world, schedule).result()) == {rule}
    run = product.submit(work.replay, world, schedule).result()
    assert (run.violations, run.schedule) == ((), schedule)


def test_mutants_name_worlds_that_there_are() -> None:
    assert all(world in worlds() for mutant in MUTANTS.values() for world in mutant.worlds)


def test_choices_that_are_left_out_change_nothing_or_are_the_same_as_others(
    product: ProcessPoolExecutor,
) -> None:
    usual = product.submit(work.replay, "two-claims", {}).result()
    assert {choice for _, _, choice in usual.needless} == {"after", "crash"}
    for left_out, same in itertools.islice(usual.needless.items(), 0, None, 40):
        one, other = (
            product.submit(work.replay, "two-claims", as_schedule(it)).result() for it in (left_out, same)
        )
        assert (one.story, one.states) == (other.story, other.states), f"{left_out} is not {same}"


def test_a_failing_schedule_loses_what_the_failure_does_not_need(broken: ProcessPoolExecutor) -> None:
    run = broken.submit(work.replay, "two-claims", {}).result()
    first = run.places[0]
    schedule = {(first.at, first.nth): first.options[0]}
    assert broken.submit(work.shrink, "two-claims", schedule, run.violations[0].rule).result() == {}


def test_random_schedules_follow_from_their_seeds(product: ProcessPoolExecutor) -> None:
    first, second = (product.submit(work.random_worlds, 3, 1, 2, FAR).result() for _ in range(2))
    assert first.schedules == second.schedules == 2
    assert first.states == second.states
    assert first.failures == second.failures


def test_walks_of_several_processes_are_put_together() -> None:
    parts = [Walk("w", schedules=2, states={b"a", b"b"}), Walk("w", schedules=3, states={b"b"}, violations=1)]
    whole = Walk.joined([lambda one=one: one for one in parts])  # type: ignore[misc]
    assert (whole.schedules, len(whole.states), whole.violations) == (5, 2, 1)


def test_a_pause_excuses_as_long_as_it_lasts_and_an_edit_nothing() -> None:
    assert allowance("pause:one:25") > 25
    assert allowance("freeze:25") > 25
    assert allowance("edit:ann disabled") == allowance("late:40") == 0


@pytest.mark.parametrize("path", SCHEDULES, ids=lambda path: path.stem)
def test_what_was_found_once_stays_mended(product: ProcessPoolExecutor, path: Path) -> None:
    world, schedule = load(path)
    assert world.startswith("random-") or world in worlds()
    run = product.submit(work.replay, world, schedule).result()
    assert run.violations == ()
    assert set(run.schedule) == set(schedule), "a place was not met: the code has changed, find it anew"
