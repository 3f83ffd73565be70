"""`python -m local` (`make run`): the whole of JIT in one process, with a stand-in for AWS."""

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path

from local.errors import CannotStart
from local.page import PEOPLE, terminal_text
from local.progress import Progress
from local.stack import Options, stack
from shared.observability import logs
from simulator.directory_file import SHIPPED, DirectoryFileError


def main() -> int:
    options = _options()
    logs.configure(fmt="console", level="WARNING")
    try:
        asyncio.run(_run(options))
    except (OSError, CannotStart, DirectoryFileError) as error:
        print(f"JIT could not start: {error}", file=sys.stderr)
        return 2
    return 0


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder that keeps everything")
    parser.add_argument("--port", type=_port, default=8080, help="HTTP: API, mailbox, tokens")
    parser.add_argument("--simulator-port", type=_port, default=8081, help="AWS's stand-in")
    parser.add_argument("--smtp-port", type=_port, default=8025, help="where the mailbox receives")
    parser.add_argument(
        "--organisation", type=Path, default=SHIPPED, help="another than the shipped one, at the first start"
    )
    given = parser.parse_args()
    return Options(
        given.data.resolve(),
        given.port,
        given.simulator_port,
        given.smtp_port,
        organisation=given.organisation.resolve(),
    )


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError(f"{text} is no port: 1 to 65535")
    return port


async def _run(options: Options) -> None:
    """Start, and serve until Ctrl-C; a Ctrl-C during the start ends it in order too."""
    work = asyncio.create_task(_serve(options))

    def end() -> None:
        if not work.cancelling():  # a second Ctrl-C does not disturb the orderly stop
            work.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    try:
        await work
    except asyncio.CancelledError:
        print("Everything is kept.", flush=True)


async def _serve(options: Options) -> None:
    started = time.monotonic()
    with Progress(sys.stdout) as progress:
        async with stack(options, on_step=progress.step) as running:
            progress.done()
            print(f"Ready after {time.monotonic() - started:.1f} s.")
            print(terminal_text(running.url, running.simulator.url, PEOPLE, str(options.data)), flush=True)
            try:
                await asyncio.Event().wait()
            finally:
                print("Stopping", flush=True)


if __name__ == "__main__":
    sys.exit(main())
