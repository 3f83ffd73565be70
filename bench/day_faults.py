"""`make day-faults`: shows that the judge of bench/day.py fails on each fault put in on purpose.

A short day for each fault; prints one JSON object with the rules each broke, exits 1 if one went unseen.
"""

import json
import subprocess
import sys
from collections import Counter

from bench.day import FAULTS

LONGEST_S = 900


def main() -> int:
    seen = {fault: _rules_broken(fault) for fault in FAULTS}
    print(json.dumps(seen, indent=2))
    return 0 if all(seen.values()) else 1


def _rules_broken(fault: str) -> dict[str, int]:
    """How often each of the judge's rules complained; empty when the fault went unseen."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "bench.day",
            "--seed",
            "6",
            "--tickets",
            "80",
            "--seconds",
            "90",
            "--fault",
            fault,
        ],
        stdout=subprocess.PIPE,
        timeout=LONGEST_S,
        check=False,
    )
    verdict = json.loads(done.stdout)
    return dict(Counter(line.partition(":")[0] for line in verdict["violations"]))


if __name__ == "__main__":
    sys.exit(main())
