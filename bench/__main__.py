"""`make bench`: every benchmark in turn, JSON lines on stdout, everything else on stderr.

Ratios within one run mean something on a shared machine, absolute figures less. `make day` is apart:
it judges.
"""

import subprocess
import sys

BENCHES: tuple[tuple[str, ...], ...] = (
    ("bench.policy",),
    ("bench.hop",),
    ("bench.approval",),
    ("bench.submit",),
    ("bench.queries", "--sizes", "0", "20000"),
    ("bench.expiry",),
    ("bench.inventory",),
    ("bench.burst",),
    ("bench.start",),
    ("bench.documents",),
)
LONGEST_S = 900


def main() -> int:
    failed = list[str]()
    for module, *arguments in BENCHES:
        print(f"-- {module}", file=sys.stderr, flush=True)
        done = subprocess.run([sys.executable, "-m", module, *arguments], timeout=LONGEST_S, check=False)
        if done.returncode:
            failed.append(module)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
