"""Who may do what at the broker, as it follows from the table of topics. For `jit migrate --acls`.

A service writes to the topics it owns and reads those it is a reader of, in the group that has its name; what
is not allowed is denied where the broker has an authorizer and no default to allow.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest

from shared.contracts.topics import TOPICS
from shared.foundation.settings import KafkaSettings
from shared.messaging.kafka import administering


class Resource(IntEnum):
    """Kafka's own numbers."""

    TOPIC = 2
    GROUP = 3


class Operation(IntEnum):
    """Kafka's own numbers. Each of these lets its owner describe the resource, too."""

    READ = 3
    WRITE = 4


_LITERAL: Final = 3
_ALLOW: Final = 3
_ANY_HOST: Final = "*"


@dataclass(frozen=True, slots=True)
class Acl:
    """One thing that one principal, such as `User:jit-ticket`, may do."""

    principal: str
    operation: Operation
    resource: Resource
    name: str

    def __str__(self) -> str:
        return f"{self.principal} {self.operation.name} {self.resource.name} {self.name}"


def acls_of(service: str, principal: str) -> Iterator[Acl]:
    """All that a service needs; an idempotent producer needs no more than to write."""
    for topic in TOPICS.values():
        if topic.owner == service:
            yield Acl(principal, Operation.WRITE, Resource.TOPIC, topic.name)
        if service in topic.readers:
            yield Acl(principal, Operation.READ, Resource.TOPIC, topic.name)
    yield Acl(principal, Operation.READ, Resource.GROUP, service)


async def write_acls(settings: KafkaSettings, acls: Iterable[Acl]) -> None:
    """Allow these; what is allowed already stays so. Raises what the broker answers."""
    async with administering(settings) as admin:
        for acl in acls:
            request = CreateAclsRequest(
                acl.resource, acl.name, _LITERAL, acl.principal, _ANY_HOST, acl.operation, _ALLOW
            )
            reply = await admin._send_to_controller(request)  # noqa: SLF001 (aiokafka has the request, and no method)
            ((code, message),) = reply.creation_responses
            if code:
                raise for_code(code)(f"{acl}: {message}")
