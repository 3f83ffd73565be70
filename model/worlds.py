"""The worlds: who is approved what, when it is stopped or extended, and what people do in AWS besides.

A world is a function that arranges a scene, with the settings of its simulator. Times are seconds from the
beginning; windows count from there too. docs/model.md says how to add one.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from model.scene import Scene
from shared.contracts import ticket as tk
from simulator.asynchronous import CREATE, Plan
from simulator.world import STANDING

Arrange = Callable[[Scene], None]
ACCOUNT, SET = "orders-prod", "ReadOnly"
MOMENT_S: Final = 4.0
OF_A_MOMENT: Final = ("kill:one", "elsewhere:one", "pause:one:25", "step:120", "step:-120")


@dataclass(frozen=True)
class World:
    name: str
    arrange: Arrange
    length: float
    """Seconds in which something happens; after them everything must come to its end."""
    aws: Mapping[str, Any] = field(default_factory=dict)
    status_lag_s: float = 0.0
    answers_in_s: float = 0.0
    """How long AWS's answers are on their way. Rounds of the engine come meanwhile."""
    patience_s: float = 0.0
    """How long a revoke may wait because of what others do to AWS in this world."""
    clock_ahead_s: float = 0.0
    """By how much the database's clock is before AWS's."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the provisioner."""
    replicas: tuple[str, ...] = ("one",)
    edits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By name, what people may do in AWS at any moment: edits of the simulator."""

    @property
    def moments(self) -> tuple[str, ...]:
        """What may happen at a moment."""
        return (*OF_A_MOMENT, *(f"edit:{name}" for name in self.edits))


def approve(scene: Scene, name: str, ticket: tk.Ticket, *, at: float = 0.0) -> tk.Ticket:
    scene.watch(name, ticket)
    scene.deliver(at, f"witness of {name}", scene.witness(ticket))
    scene.deliver(at, f"approval of {name}", scene.approval(ticket))
    return ticket


def extend(scene: Scene, name: str, ticket: tk.Ticket, *, seconds: float, at: float) -> None:
    later = scene.extended(ticket, seconds=seconds)
    scene.deliver(at, f"witness of the extension of {name}", scene.extension_witness(later))
    scene.deliver(at, f"extension of {name}", scene.extension_approval(later))


def stop(scene: Scene, name: str, ticket: tk.Ticket, *, at: float) -> None:
    scene.deliver(
        at,
        f"stop of {name}",
        scene.stop(ticket),
        then=lambda: scene.judge.stopped(lambda one: one.name == name),
    )


def two_claims(scene: Scene) -> None:
    """Two tickets give one person the same; the first is extended, the second stopped."""
    first = approve(scene, "A", scene.ticket("ann", seconds=16))
    second = approve(scene, "B", scene.ticket("ann", starts_in=5, seconds=35))
    extend(scene, "A", first, seconds=8, at=10)
    stop(scene, "B", second, at=32)


def two_tuples(scene: Scene) -> None:
    """Two people on one account, where AWS does one thing at a time."""
    first = approve(scene, "A", scene.ticket("ann", seconds=16))
    second = approve(scene, "B", scene.ticket("bob", starts_in=2, seconds=40))
    extend(scene, "A", first, seconds=6, at=8)
    stop(scene, "B", second, at=22)


def standing(scene: Scene) -> None:
    """The access was there before JIT; it stays, whatever becomes of the two tickets."""
    key = scene.aws.named("ann", ACCOUNT, SET)
    scene.aws.world.put_directly(key, now=scene.aws.clock.now(), cause=STANDING)
    first = approve(scene, "A", scene.ticket("ann", seconds=14))
    second = approve(scene, "B", scene.ticket("ann", starts_in=4, seconds=30))
    extend(scene, "A", first, seconds=6, at=8)
    stop(scene, "B", second, at=24)


def somebody_else(scene: Scene) -> None:
    """Another tool has an operation on the account for 40 s: ours wait behind it, or are refused."""
    approve(scene, "A", scene.ticket("ann", seconds=14))
    first = approve(scene, "B", scene.ticket("bob", seconds=30))
    stop(scene, "B", first, at=24)

    def begin() -> None:
        key = scene.aws.named("eve", ACCOUNT, "Developer")
        now = scene.aws.clock.now()
        scene.aws.world.requests.assign(
            CREATE, key, now=now, plan=Plan(seconds=40, failure="it was not to be")
        )

    scene.at(8, begin)


def person_stopped(scene: Scene) -> None:
    """An operator ends everything of a person while an approval of theirs is on its way."""
    approve(scene, "A", scene.ticket("ann", seconds=40))
    approve(scene, "B", scene.ticket("ann", account="orders-dev", seconds=40), at=14)
    scene.revoke(10, "stop of ann", user_id=scene.user("ann"))


def crowd(scene: Scene) -> None:
    """One person on three accounts at once, and room for two operations."""
    for number, account in enumerate(("orders-prod", "orders-dev", "sandbox-01")):
        name = chr(ord("A") + number)
        ticket = scene.ticket("ann", account=account, starts_in=number % 2, seconds=14 + 3 * number)
        approve(scene, name, ticket)


def given_again(scene: Scene) -> None:
    """The same access is taken away and given again at once: lists show the first, then neither."""
    approve(scene, "A", scene.ticket("ann", seconds=8))
    approve(scene, "B", scene.ticket("ann", starts_in=10.4, seconds=4.8))


def one_claim(scene: Scene, *, seconds: float) -> None:
    """One ticket of one person."""
    approve(scene, "A", scene.ticket("ann", seconds=seconds))


PEOPLE_IN_AWS: Final[dict[str, dict[str, Any]]] = {
    "ann disabled": {"action": "disable_user", "user": "ann"},
    "ann deleted": {"action": "delete_user", "user": "ann"},
    "account suspended": {"action": "set_account_state", "account": ACCOUNT, "state": "SUSPENDED"},
    "set deleted": {"action": "delete_set", "permission_set": SET},
    "made outside": {
        "action": "add_assignment", "user": "ann", "account": ACCOUNT, "permission_set": SET,
    },
    "removed outside": {
        "action": "remove_assignment", "user": "ann", "account": ACCOUNT, "permission_set": SET,
    },
}  # fmt: skip

SMALL: Final = {
    world.name: world
    for world in (
        World("two-claims", two_claims, 44, edits=PEOPLE_IN_AWS),
        World("two-tuples", two_tuples, 44, edits=PEOPLE_IN_AWS),
        World("standing", standing, 36, edits=PEOPLE_IN_AWS),
        World(
            "late-lists", two_claims, 44,
            aws={"list_lag_seconds": 4, "create_seconds": {"low": 6, "high": 6}}, status_lag_s=3,
        ),
        World("two-replicas", two_claims, 44, replicas=("one", "two")),
        World("somebody-else", somebody_else, 32, patience_s=60),
        World("person-stopped", person_stopped, 44),
        World(
            "short-window", partial(one_claim, seconds=5), 12,
            aws={"create_seconds": {"low": 8, "high": 8}, "list_lag_seconds": 2}, status_lag_s=3,
        ),
        World(
            "slow-creation", partial(one_claim, seconds=50), 56, clock_ahead_s=90,
            aws={"create_seconds": {"low": 30, "high": 30}},
        ),
        World("given-again", given_again, 16, aws={"list_lag_seconds": 4}),
        World("crowd", crowd, 28, answers_in_s=0.2, settings={"slots": 2, "grant_slots": 1}),
        World(
            "slow-aws", two_claims, 44, clock_ahead_s=90,
            aws={"create_seconds": {"low": 30, "high": 30}, "delete_seconds": {"low": 4, "high": 4}},
        ),
    )
}  # fmt: skip
"""Walked whole: each place of the usual way with each of its choices."""


def large(scene: Scene, *, seed: int) -> None:
    """Four tickets of three people on three accounts; some are extended, some stopped."""
    chosen = random.Random(seed)
    for number in range(4):
        name = chr(ord("A") + number)
        users = chosen.sample(("ann", "bob", "eve"), chosen.choice((1, 1, 2)))
        account = chosen.choice(("orders-prod", "orders-dev", "sandbox-01"))
        ticket = scene.ticket(
            *users, account=account, name=chosen.choice((SET, "Developer")),
            starts_in=chosen.randint(0, 15), seconds=chosen.randint(4, 40),
        )  # fmt: skip
        approve(scene, name, ticket, at=chosen.randint(0, 6))
        if chosen.random() < 0.4:
            extend(scene, name, ticket, seconds=chosen.randint(2, 12), at=chosen.randint(4, 25))
        if chosen.random() < 0.4:
            stop(scene, name, ticket, at=chosen.randint(0, 45))
    if chosen.random() < 0.2:
        scene.revoke(chosen.randint(2, 30), "stop of ann", user_id=scene.user("ann"))


def random_world(seed: int) -> World:
    chosen = random.Random(f"world/{seed}")
    high = chosen.choice((2, 2, 4, 9))
    return World(
        f"random-{seed}",
        partial(large, seed=seed),
        56,
        aws={
            "list_lag_seconds": chosen.choice((0, 0, 2, 6)),
            "create_seconds": {"low": 1, "high": high},
            "delete_seconds": {"low": 1, "high": chosen.choice((2, 4))},
            "account_serialisation": chosen.choice(("queue", "conflict")),
            "missing_assignment_deletion": chosen.choice(("not_found", "failed", "succeeded")),
        },
        status_lag_s=chosen.choice((0, 0, 3)),
        replicas=chosen.choice((("one",), ("one", "two"))),
        edits=PEOPLE_IN_AWS,
    )


def named(name: str) -> World:
    """Raises KeyError for a world that there is not."""
    if name.startswith("random-"):
        return random_world(int(name.partition("-")[2]))
    return SMALL[name]
