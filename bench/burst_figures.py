"""What a burst cost, from the simulator's own record of calls and requests, never from JIT's word."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from simulator.asynchronous import AsyncRequest
from simulator.controls import Controls

CREATE: Final = "CreateAccountAssignment"
DELETE: Final = "DeleteAccountAssignment"
_TELLS: Final = {
    CREATE: ("ListAccountAssignmentCreationStatus", "DescribeAccountAssignmentCreationStatus"),
    DELETE: ("ListAccountAssignmentDeletionStatus", "DescribeAccountAssignmentDeletionStatus"),
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One accepted request: when it was sent, when AWS was done, when a status call could tell so."""

    sent: float
    ended: float
    known: float


def calls(aws: Controls) -> int:
    """All of them, of every service, refused ones too."""
    return len(aws.records.calls)


def by_operation(aws: Controls) -> dict[str, int]:
    counted: dict[str, int] = {}
    for call in aws.records.calls:
        counted[call["operation"]] = counted.get(call["operation"], 0) + 1
    return dict(sorted(counted.items()))


def throttles(aws: Controls) -> int:
    """Both limits, the rate and the slots: AWS has one code for them."""
    return sum(call["error"] == "ThrottlingException" for call in aws.records.calls)


def operations(aws: Controls, kind: str) -> list[Operation]:
    """The accepted requests that have ended, in the order they were sent."""
    tells = [call for call in aws.records.calls if call["operation"] in _TELLS[kind]]
    sent = [call for call in aws.records.calls if call["operation"] == kind and call["outcome"] == "ok"]
    found = ((call, aws.world.requests.all[call["async_request_id"]]) for call in sent)
    return [_operation(call, request, tells) for call, request in found if request.ended_at is not None]


def slots_busy(done: Sequence[Operation], *, since: float, slots: int) -> float:
    """The share of the slots that was in use until fewer operations than slots remained.

    A slot is in use from the call to the first status call that could tell that AWS was done: no other
    operation may begin before. How long after AWS that is, `seconds` beside `floor_s` shows.
    """
    return _share([(one.sent, one.known) for one in done], since=since, slots=slots)


def aws_busy(done: Sequence[Operation], *, since: float, slots: int) -> float:
    """The same, counting only while AWS was at work."""
    return _share([(one.sent, one.ended) for one in done], since=since, slots=slots)


def floor_s(done: Sequence[Operation], *, slots: int) -> float:
    """Seconds that these operations take on so many slots, if none is ever free.

    By the simulator's own times. The other two limits hold nothing up: two calls or three an end stay below
    20 a second, and no account has so many ends that one at a time takes longer than all others.
    """
    return sum(one.ended - one.sent for one in done) / slots


def _share(spans: Sequence[tuple[float, float]], *, since: float, slots: int) -> float:
    until = sorted(end for _, end in spans)[-slots]
    used = sum(max(0.0, min(end, until) - max(begin, since)) for begin, end in spans)
    return used / (slots * (until - since))


def _operation(call: dict[str, Any], request: AsyncRequest, tells: Iterable[dict[str, Any]]) -> Operation:
    ended = request.ended_at or 0.0
    told = (tell["time"] for tell in tells if tell["time"] >= ended and _tells(tell, request.id))
    return Operation(call["time"], ended, min(told, default=ended))


def _tells(call: dict[str, Any], request_id: str) -> bool:
    """A list tells of everybody's, a Describe of one."""
    return call["operation"].startswith("List") or request_id in list(call["params"].values())
