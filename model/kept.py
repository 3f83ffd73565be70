"""A schedule as a JSON file: what to replay, and what it shows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.run import Schedule


def as_json(world: str, schedule: Schedule, **more: Any) -> dict[str, Any]:
    """`at` names a place by who stopped there and for what, `nth` which time, `do` what was done."""
    choices = [{"at": at, "nth": nth, "do": choice} for (at, nth), choice in schedule.items()]
    return {"world": world, "schedule": choices, **more}


def keep(folder: Path, found: Mapping[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found['world']}-{found['rule']}.json"
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return path


def load(path: Path) -> tuple[str, dict[tuple[str, int], str]]:
    """The world's name and the schedule."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return found["world"], {(one["at"], one["nth"]): one["do"] for one in found["schedule"]}
