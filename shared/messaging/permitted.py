"""What the broker lets a service do, as the broker itself says. For `jit doctor`; changes nothing.

The client library stops at a version of Metadata that does not tell rights, and reads the answer of the
DescribeGroups that does as if it did not; so both are here.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    IncompatibleBrokerVersion,
    NotCoordinatorForGroupError,
    for_code,
)
from aiokafka.protocol.admin import DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from shared.contracts.topics import TOPICS
from shared.foundation.settings import KafkaSettings
from shared.messaging.acls import Operation
from shared.messaging.kafka import administering

NOT_TOLD: Final = -(2**31)
"""What a broker answers that does not say."""
_NOT_ALLOWED: Final = 29
_UNKNOWN: Final = 3
_TEXT: Final = String("utf-8")
_NOT_YET: Final = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
_TRIES: Final = 10
_PAUSE_S: Final = 1.0


class _MetadataResponse(Response):  # type: ignore[misc] # aiokafka has no types
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT))),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", _TEXT),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataStruct(RequestStruct):  # type: ignore[misc] # as above
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(_TEXT)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


_Struct: TypeAlias = _MetadataStruct


class _Metadata(Request[_Struct]):  # type: ignore[misc] # as above
    API_KEY = 3

    def build(self, request_struct_class: type[_Struct]) -> _Struct:
        return request_struct_class(list(TOPICS), False, False, True)  # in the order of the protocol


class _GroupsStruct(RequestStruct):  # type: ignore[misc] # as above
    API_KEY = 15
    API_VERSION = 3
    RESPONSE_TYPE = DescribeGroupsResponse_v3
    SCHEMA = Schema(("groups", Array(_TEXT)), ("include_authorized_operations", Boolean))


_Groups: TypeAlias = _GroupsStruct


class _DescribeGroup(Request[_Groups]):  # type: ignore[misc] # as above
    API_KEY = 15

    def __init__(self, group: str) -> None:
        self._group = group

    def build(self, request_struct_class: type[_Groups]) -> _Groups:
        return request_struct_class([self._group], True)


@dataclass(frozen=True, slots=True)
class TopicSeen:
    """A topic as one service sees it."""

    there: bool
    """False also where the broker does not let it be seen."""
    partitions: int = 0
    without_leader: int = 0
    allowed: frozenset[Operation] | None = None
    """None where the broker does not tell."""


@dataclass(frozen=True, slots=True)
class Permitted:
    """What the broker says to a service."""

    topics: dict[str, TopicSeen]
    group: frozenset[Operation] | None
    """In the group of the service's name."""


async def permitted(settings: KafkaSettings, service: str) -> Permitted:
    """Raises KafkaError where the broker cannot be reached or refuses the connection."""
    async with administering(settings) as admin:
        answer = (await admin._send_request(_Metadata())).to_object()  # noqa: SLF001 (aiokafka has no method)
        group = await _group(admin, service)
    return Permitted({found["topic"]: _seen(found) for found in answer["topics"]}, group)


async def _group(admin: Any, service: str) -> frozenset[Operation] | None:
    """Asked of the broker that keeps the group; any other does not know.

    A broker whose groups were never used makes their topic first, which takes it some seconds.
    """
    for _ in range(_TRIES):
        try:
            return _allowed(await _described(admin, service))
        except GroupAuthorizationFailedError:
            return frozenset()
        except (IncompatibleBrokerVersion, NotImplementedError):
            return None
        except _NOT_YET:
            await asyncio.sleep(_PAUSE_S)
    return None


async def _described(admin: Any, service: str) -> int:
    coordinator = await admin.find_coordinator(service)
    answer = (await admin._send_request(_DescribeGroup(service), coordinator)).to_object()  # noqa: SLF001 (as above)
    [found] = answer["groups"]
    if found["error_code"]:
        raise for_code(found["error_code"])(service)
    allowed: int = found["authorized_operations"]
    return allowed


def _seen(found: dict[str, Any]) -> TopicSeen:
    if found["error_code"] in {_NOT_ALLOWED, _UNKNOWN}:
        return TopicSeen(there=False, allowed=frozenset() if found["error_code"] == _NOT_ALLOWED else None)
    partitions = found["partitions"]
    return TopicSeen(
        there=True,
        partitions=len(partitions),
        without_leader=sum(partition["leader"] < 0 for partition in partitions),
        allowed=_allowed(found["authorized_operations"]),
    )


def _allowed(bits: int) -> frozenset[Operation] | None:
    """Kafka has a bit for each operation's number."""
    if bits == NOT_TOLD:
        return None
    return frozenset(operation for operation in Operation if bits & (1 << operation))
