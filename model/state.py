"""A state in a few bytes, so that two runs that came to the same one are known to go on alike.

All that decides what happens next: the rows, what AWS holds and is doing, what the engine keeps in memory,
who waits for what and until when, what was said and is still to be delivered. Times count from the beginning
of the run. Left out are ids that differ from run to run, and texts that only people read.
"""

import asyncio
import json
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

from model.scene import Scene
from services.provisioner.__main__ import Replica

ROWS: Final = """
    SELECT coalesce((SELECT json_agg(row_to_json(a) ORDER BY a.id) FROM assignment a), '[]')::text
            AS assignments,
        coalesce((SELECT json_agg(row_to_json(c) ORDER BY c.id) FROM claim c), '[]')::text AS claims,
        coalesce((SELECT json_agg(row_to_json(e) ORDER BY e.subject_id) FROM extension e), '[]')::text
            AS extensions,
        (SELECT count(*) FROM witness) AS witnesses, (SELECT count(*) FROM stop) AS stops,
        (SELECT count(*) FROM stop_of_all) AS stops_of_all,
        (SELECT row_to_json(l) FROM lease l)::text AS lease
"""
_LEFT_OUT: Final = frozenset(
    {
        "id", "assignment_id", "ticket_id", "target_id", "subject_id", "extension_id", "grant_id",
        "content_hash", "cause", "request_id", "deletion_id", "op_request_id", "last_error", "kept_by",
        "epoch", "detail",
    }
)  # fmt: skip


def state_of(scene: Scene, rows: Any) -> bytes:
    """`rows` is what `ROWS` answered."""
    whole = [
        [_plain(scene, json.loads(rows[name])) for name in ("assignments", "claims", "extensions")],
        rows["witnesses"], rows["stops"], rows["stops_of_all"], _plain(scene, json.loads(rows["lease"])),
        _aws(scene), _memory(scene), scene.judge.memory, scene.undelivered,
        sorted(alert.key.split("/")[0] for alert in scene.context.alerts.active),
        round(scene.clock.stepped.total_seconds()),
        sorted(choice for _, _, choice in scene.turns.taken if choice.startswith("edit")),
    ]  # fmt: skip
    return blake2b(json.dumps(whole, default=str, sort_keys=True).encode(), digest_size=12).digest()


def _plain(scene: Scene, value: Any) -> Any:
    """Without ids, and with times as seconds of the run."""
    if isinstance(value, list):
        return [_plain(scene, one) for one in value]
    if isinstance(value, dict):
        kept = {name: _plain(scene, one) for name, one in value.items() if name not in _LEFT_OUT}
        return kept | {"asked": value.get("op_request_id") is not None}
    if isinstance(value, str) and len(value) > 18 and value[4:5] == "-":
        try:
            return _seconds(scene, datetime.fromisoformat(value))
        except ValueError:
            return value
    return value


def _aws(scene: Scene) -> list[Any]:
    world, began = scene.aws.world, scene.clock.start.timestamp()
    requests = [
        [one.kind, one.assignment.model_dump() if one.assignment else None, one.status, one.seconds]
        + [round(at - began, 3) if at is not None else None for at in (one.created_at, one.begins)]
        for one in world.requests.all.values()
    ]
    pending = [[round(one.visible_at - began, 3), one.assignment, one.present] for one in world.truth.pending]
    return [
        requests, sorted(map(str, world.truth.present)), sorted(map(str, world.truth.visible)), pending
    ]  # fmt: skip


def _memory(scene: Scene) -> list[Any]:
    """What the engines remember, who is parked, and when timers ring."""
    turns, memory = scene.turns, list[Any]()
    for name, process in sorted(scene.processes.items()):
        remembered = ["down"] if process.replica is None else _remembered(scene, process.replica)
        memory.append([name, remembered])
    parked = sorted((one.at, round(one.until, 3)) for one in turns.parked)
    frozen = sorted((who, round(until, 3)) for who, until in turns.frozen.items())
    return [memory, parked, frozen, _timers()]


def _remembered(scene: Scene, replica: Replica) -> list[Any]:
    """Of one process: its engine, its share of the lease, and the answers of AWS that it keeps."""
    engine, turns, parts = replica.engine, replica.engine.turns, replica.engine.parts
    polled = engine.polls.times
    slots = [len(engine.slots._taken), len(engine.slots._reserved)]
    lists = sorted(
        [*pair, len(one.value), _seconds(scene, one.asked_at)] for pair, one in parts.reads._kept.items()
    )
    users, accounts = (
        sorted([key, _seconds(scene, one.asked_at)] for key, one in answers._kept.items())
        for answers in (parts.directory._users, parts.directory._accounts)
    )
    read = [known.read_at for known in parts.digests._known.values()]
    waiting = [sorted(_seconds(scene, at) for at in one.values()) for one in (turns._waiting, turns._looked)]
    return [
        slots, lists, users, accounts, sorted(_seconds(scene, at) for at in read if at is not None), waiting,
        sorted(_seconds(scene, at) for at in engine._held_back.values()),
        sorted([*pair, _seconds(scene, at)] for pair, at in turns._worked_on.items()),
        [round(polled.seconds_each(kind), 3) for kind in ("create", "delete")],
        sorted(round(at, 3) for at in polled._asked_at.values()),
        len(engine._visits), sorted(engine._named) != [], replica.lease.held,
    ]  # fmt: skip


def _seconds(scene: Scene, moment: datetime) -> float:
    """Of the run, by the database's clock."""
    return round((moment - scene.clock.start).total_seconds(), 3)


def _timers() -> list[float]:
    scheduled: Any = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return sorted(round(handle.when(), 3) for handle in scheduled if not handle.cancelled())
