"""`python -m local` (`make run`): the whole of JIT in one process, with a stand-in for AWS."""

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path

from local.kafka import KafkaUnavailable
from local.page import PEOPLE, terminal_text
from local.postgres_home import PostgresUnavailable
from local.stack import Options, stack
from shared.observability import logs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder that keeps everything")
    parser.add_argument("--port", type=int, default=8080, help="HTTP: API, mailbox, tokens")
    parser.add_argument("--simulator-port", type=int, default=8081, help="AWS's stand-in")
    parser.add_argument("--smtp-port", type=int, default=8025, help="where the mailbox receives")
    given = parser.parse_args()
    logs.configure(fmt="console", level="WARNING")
    options = Options(given.data.resolve(), given.port, given.simulator_port, given.smtp_port)
    try:
        asyncio.run(_run(options))
    except (OSError, PostgresUnavailable, KafkaUnavailable) as error:
        print(f"JIT could not start: {error}", file=sys.stderr)
        return 2
    return 0


async def _run(options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    started = time.monotonic()
    print("Starting JIT:", end=" ", flush=True)
    async with stack(options, say=lambda what: print(what, end=" ... ", flush=True)) as running:
        print(f"ready after {time.monotonic() - started:.1f} s.")
        print(terminal_text(running.url, running.simulator.url, PEOPLE, str(options.data)), flush=True)
        await stop.wait()
        print("Stopping; everything is kept.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
