"""What happened: every API call, and every moment an assignment appeared or disappeared in truth.

Kept in memory and, when asked, appended to a file of JSON lines that is read back after a restart.
Holds no credentials. A judge outside trusts this and not the services' own word.
"""

import json
from collections import Counter, deque
from pathlib import Path
from typing import Any

from simulator.directory import Directory
from simulator.model import Assignment

KEPT = 200_000


class Records:
    """`number` grows by one with each record of either kind, over restarts too."""

    def __init__(self, path: Path | None = None) -> None:
        self.calls: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.history: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.outcomes: Counter[str] = Counter()
        self._number = 0
        if path and path.exists():
            self._read_back(path)
        self._file = path.open("a", encoding="utf-8", buffering=1) if path else None

    def call(self, **fields: Any) -> None:
        self._append({"kind": "call", **fields})

    def assignment(
        self, time: float, event: str, assignment: Assignment, cause: str, directory: Directory
    ) -> None:
        """`event` is appeared or disappeared; `cause` a request id, `standing` or `foreign`."""
        row = assignment.model_dump() | directory.names_of(assignment)
        self._append({"kind": "assignment", "time": time, "event": event, "cause": cause, **row})

    def clear(self) -> None:
        """Forget what is in memory; the file keeps it and the numbers go on."""
        self.calls.clear()
        self.history.clear()
        self.outcomes.clear()

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _append(self, record: dict[str, Any]) -> None:
        self._number += 1
        record = {"number": self._number, **record}
        self._keep(record)
        if self._file:
            self._file.write(json.dumps(record, separators=(",", ":")) + "\n")

    def _keep(self, record: dict[str, Any]) -> None:
        if record["kind"] == "call":
            self.calls.append(record)
            self.outcomes[f"{record['operation']} {record['error'] or record['outcome']}"] += 1
        else:
            self.history.append(record)

    def _read_back(self, path: Path) -> None:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                if not line.endswith("\n"):
                    break  # a kill cut the last line off; what it said was never answered
                record = json.loads(line)
                self._number = record["number"]
                self._keep(record)
