"""`make chaos`: everything goes wrong at once, then it is calm; judged from outside. One JSON object.

Several storms: kills and pauses of every service and of both provisioners, outages of the broker and of all
databases, steps of the provisioner's clock, and an AWS that throttles, fails, cuts, lags and never finishes.
After each storm, when it is quiet, AWS's lists are compared with what `GET /v1/grants` says. Exits 1 on any
violation: access left behind, anything doubled, a late revoke that nobody was told of, and all that
bench/day_judge.py looks for. The longest overrun is reported with what was wrong meanwhile.
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from bench.chaos_clock import install_clock
from bench.chaos_judge import judge_alerted, judge_once, longest, overruns_of
from bench.chaos_strikes import Storm
from bench.day import LIST_LAG_S, SIMULATOR, STRIKES, put_demo
from bench.day_intruder import intruder
from bench.day_judge import Troubles, judge, read_audit, settle_down
from bench.day_people import Day, approved
from bench.day_truth import Verdict, assignment_key, merged, presences_of
from bench.fleet import Fleet, fleet
from bench.judged import add_common, run_judged
from bench.quiet import Quiet, until_compared

OBJECTIVE_S: Final = 20.0
SERVICES: Final = {
    "ticket": {"JIT_SHORTEST_WINDOW": "PT5S", "JIT_TIMER_EVERY": "PT1S"},
    "provisioner": {
        "JIT_SETTLE_TIME_S": "6",  # longer than the lists lag here
        "JIT_REVOKE_OBJECTIVE_S": str(OBJECTIVE_S),
        "JIT_OPERATION_PATIENCE_S": "15",
        "JIT_OPERATION_LONGEST_S": "180",  # as long as one lasts here that does not finish
        # The dice are loaded: with AWS's five a grant would be given up now and then, rightly.
        "JIT_CREATE_ATTEMPTS": "50",
    },
    "notifier": {"JIT_MAIL_SEND_WITHIN": "PT6S", "JIT_MAIL_FIRST_DELAY": "PT2S"},
}
REPLICAS: Final = {"provisioner-2": "provisioner"}
TURN_S: Final = 200.0
CALM_S: Final = 70.0
"""Of each turn: what was asked for in the storm ends, and is compared."""
KEPT: Final = 3
KEPT_S: Final = 150
"""So many grants last so long, so that there is something to compare; what people asked for ends before."""
_QUIET_WITHIN_S: Final = 240.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    add_common(parser, seconds=600, tickets=200)
    return run_judged(parser.parse_args(), "chaos", _run)


async def _run(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    started = time.monotonic()
    async with fleet(
        folder,
        simulator_settings=SIMULATOR,
        service_settings=SERVICES,
        seed=given.seed,
        replicas=REPLICAS,
    ) as running:
        await put_demo(running)
        await install_clock(running)
        standing = {
            assignment_key(row) for row in (await running.simulate("GET", "/assignments"))["assignments"]
        }
        quiet = Quiet.beside(standing)
        storm = Storm(running, given.seed, LIST_LAG_S)
        turns = max(1, round(given.seconds / TURN_S))
        async with intruder(running) as outsider:
            day = Day(running, outsider, seed=given.seed)
            for turn in range(turns):
                await _turn(running, day, storm, quiet, given, turn, seconds=given.seconds / turns)
        await asyncio.sleep(max(0.0, _last_end(day) - time.time()))
        await settle_down(running, longest=timedelta(minutes=10))
        await until_compared(running, quiet, seconds=_QUIET_WITHIN_S)
        gave_up = _forgive_waiting(day)
        verdict = await judge(running, day.outcome, standing, _troubles(running, storm))
        return await _summary(verdict, running, day, storm, quiet) | {
            "people_gave_up": gave_up,
            "seconds": round(time.monotonic() - started, 1),
            "tickets": given.tickets,
            "seed": given.seed,
        }


async def _turn(
    running: Fleet,
    day: Day,
    storm: Storm,
    quiet: Quiet,
    given: argparse.Namespace,
    turn: int,
    *,
    seconds: float,
) -> None:
    """One storm, the calm after it, and a comparison in that."""
    for number, strike in enumerate(STRIKES):
        await running.simulate("POST", "/faults", {**strike, "seed": given.seed * 100 + number})
    turns = max(1, round(given.seconds / TURN_S))
    people = asyncio.create_task(day.run(tickets=given.tickets // turns, seconds=seconds - CALM_S))
    raging = asyncio.create_task(storm.rage(turn=turn))
    try:
        done, _ = await asyncio.wait([raging], timeout=max(seconds - CALM_S, 20))
        if done:
            raging.result()  # a striker broke: the run says nothing
    finally:
        raging.cancel()
        await asyncio.gather(raging, return_exceptions=True)
    await storm.calm()
    await people
    await _keep_some(day, random.Random(f"{given.seed}/{turn}/kept"))
    await until_compared(running, quiet, seconds=_QUIET_WITHIN_S)


async def _keep_some(day: Day, dice: random.Random) -> None:
    """Access that lasts while all else ends: it is there when it is quiet, and ends in the next storm."""
    kept = [await approved(day, dice, "kept", KEPT_S) for _ in range(KEPT)]
    for who, ticket in kept:
        await day.active(who, ticket["id"])


def _last_end(day: Day) -> float:
    """Of all that was allowed: a quiet moment before it is not the last."""
    return max(window.until for windows in day.outcome.allowed.values() for window in windows)


def _forgive_waiting(day: Day) -> int:
    """Somebody who waited longer than people do is no violation; how many did."""
    kept = [problem for problem in day.outcome.problems if "TimeoutError" not in problem]
    gave_up = len(day.outcome.problems) - len(kept)
    day.outcome.problems = kept
    return gave_up


def _troubles(running: Fleet, storm: Storm) -> Troubles:
    notifier = running.services["notifier"]
    away = [down.since for down in running.database_downs]
    return Troubles(storm.downs, storm.wrong, [*notifier.pauses, *away])


async def _summary(verdict: Verdict, running: Fleet, day: Day, storm: Storm, quiet: Quiet) -> dict[str, Any]:
    presences = presences_of((await running.simulate("GET", "/history"))["history"])
    events = await read_audit(running)
    overruns = overruns_of(day.outcome, presences)
    judge_once(verdict, events)
    judge_alerted(
        verdict,
        overruns,
        events,
        {one.arn.rsplit("/", 1)[-1]: one.arn for one in running.organisation.permission_sets.values()},
        objective_s=OBJECTIVE_S,
        downs=merged(storm.blind),
        wrong=storm.wrong,
    )
    quiet.judge(verdict)
    if quiet.live == 0:
        verdict.complain("quiet", "nothing was active at any quiet moment: nothing was compared")
    return {
        "violations": verdict.violations,
        "longest_overrun": longest(overruns, storm.reasons),
        "counts": verdict.counts,
        "latencies_s": verdict.latencies_s,
        "asked_by": quiet.by,
        "strikes": dict(Counter(f"{one.what} {one.how}" for one in storm.strikes)),
        "clock_steps_s": [round(one.seconds) for one in storm.steps],
    }


if __name__ == "__main__":
    sys.exit(main())
