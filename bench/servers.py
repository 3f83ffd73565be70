"""One real server until SIGTERM or Ctrl-C: `python -m bench.servers kafka` or `postgres [--postgres 15]`.

Prints its address as the environment variable that tests and benches read. Everything is gone afterwards.
"""

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from local.postgres_home import PostgresUnavailable
from tests.support.kafka_server import KafkaServerUnavailable, real_kafka
from tests.support.servers import embedded_postgres

_DEBIAN = "/usr/lib/postgresql/{version}/bin"


@contextmanager
def kafka() -> Iterator[str]:
    """A real broker of one node; yields the line to put into the environment."""
    with real_kafka() as server:
        yield f"JIT_TEST_KAFKA={server.bootstrap}"


@contextmanager
def postgres(version: str | None = None) -> Iterator[str]:
    """PostgreSQL out of the wheel, or Debian's of that major version; yields the line for the environment."""
    with embedded_postgres(debian_binaries(version) if version else None) as server:
        yield f"JIT_TEST_DATABASE_DSN={server.admin_dsn}"


def debian_binaries(version: str) -> Path:
    """The folder where Debian's packages put PostgreSQL of that major version."""
    binaries = Path(_DEBIAN.format(version=version))
    if not (binaries / "postgres").exists():
        raise PostgresUnavailable(f"{binaries} holds no PostgreSQL; install Debian's postgresql-{version}.")
    return binaries


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.servers", description=__doc__)
    parser.add_argument("server", choices=["kafka", "postgres"])
    parser.add_argument("--postgres", metavar="VERSION", help="Debian's PostgreSQL of this version")
    options = parser.parse_args()
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, _leave)
    try:
        with kafka() if options.server == "kafka" else postgres(options.postgres) as address:
            print(address, flush=True)
            while True:
                signal.pause()
    except (PostgresUnavailable, KafkaServerUnavailable) as error:
        print(error, file=sys.stderr)
        return 1


def _leave(_signal: int, _frame: FrameType | None) -> None:
    # Raised wherever we are, so that the server is stopped even while it starts.
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
