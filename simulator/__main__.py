"""python -m simulator: run the simulated AWS until it is told to stop.

Prints one line, its URL, when it listens.
"""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from simulator.directory_file import SHIPPED, DirectoryFileError
from simulator.server import Simulator
from simulator.settings import Settings

try:
    import uvloop
except ImportError:  # Windows
    uvloop = None  # type: ignore[assignment]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulator", description="A strict stand-in for AWS.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port (default)")
    parser.add_argument("--organisation", type=Path, default=SHIPPED, help="YAML file")
    parser.add_argument("--state", type=Path, help="keep everything over a restart in this file")
    parser.add_argument("--call-log", type=Path, help="append every call and change to this file")
    parser.add_argument("--seed", type=int, default=0, help="for random ids, durations and faults")
    parser.add_argument("--settings", type=json.loads, help='JSON, such as {"slots": 0}')
    return parser.parse_args()


def _simulator(arguments: argparse.Namespace) -> Simulator:
    settings = arguments.settings
    return Simulator(
        organisation=arguments.organisation,
        state_file=arguments.state,
        call_log=arguments.call_log,
        seed=arguments.seed,
        settings=None if settings is None else Settings.model_validate(settings),
    )


def _new_loop() -> asyncio.AbstractEventLoop:
    """The faster one where there is one: what is measured shares a machine with the simulator."""
    return asyncio.new_event_loop() if uvloop is None else uvloop.new_event_loop()


async def _run(simulator: Simulator, host: str, port: int) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with simulator.serve(host=host, port=port):
        sys.stdout.write(f"{simulator.url}\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> int:
    arguments = _arguments()
    try:
        simulator = _simulator(arguments)
    except (DirectoryFileError, ValueError, OSError) as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 2
    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(_run(simulator, arguments.host, arguments.port))
    except OSError as error:
        sys.stderr.write(f"simulator: cannot listen on {arguments.host}:{arguments.port}: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
