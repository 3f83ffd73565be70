"""The world on disk: one JSON file, replaced whole after every change.

Not a database: it makes the embedded run survive a stop. A half-written file cannot be seen, because the
new one takes the old one's name only when it is complete.
"""

from pathlib import Path

from simulator.world import Snapshot


def load(path: Path) -> Snapshot | None:
    """What was stored, or None when there is nothing yet. Raises ValueError when it cannot be read."""
    if not path.exists():
        return None
    return Snapshot.model_validate_json(path.read_bytes())


def store(path: Path, snapshot: Snapshot) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.write_text(snapshot.model_dump_json(), encoding="utf-8")
    fresh.replace(path)
