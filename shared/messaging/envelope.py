"""CloudEvents 1.0 in Kafka's binary mode: headers around a JSON value.

Writes the envelope when an event enters the outbox and reads it when a record arrives. A record that
cannot be read raises `Undecodable`, which parks it; an event type nobody knows is not an error.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from opentelemetry import propagate
from pydantic import ValidationError

from shared.contracts.event import Contract, Event
from shared.contracts.registry import EVENTS

SPEC_VERSION = "1.0"
_MUST_UNDERSTAND = "ce_mustunderstand"

EventT = TypeVar("EventT", bound=Event)
ContractT = TypeVar("ContractT", bound=Contract)


class Undecodable(Exception):
    """The record can never be handled as it is; retrying does not help."""


@dataclass(frozen=True)
class Envelope:
    """What travels around a value. `source` is the service that wrote it."""

    id: str
    type: str
    subject: str
    source: str
    time: datetime
    carrier: Mapping[str, str]
    """W3C trace context: traceparent and tracestate, where present."""
    must_understand: tuple[str, ...] = ()
    """Fields that a reader must know which would open access by this."""


@dataclass(frozen=True)
class Received(Generic[EventT]):
    """An event as it arrived."""

    event: EventT
    envelope: Envelope

    @property
    def id(self) -> str:
        return self.envelope.id


def headers_for(
    *,
    event_id: str,
    type_name: str,
    subject: str,
    source: str,
    time: datetime,
    must_understand: Sequence[str] = (),
) -> dict[str, str]:
    """Headers of a new event, with the current trace context injected."""
    headers = {
        "ce_specversion": SPEC_VERSION,
        "ce_id": event_id,
        "ce_type": type_name,
        "ce_subject": subject,
        "ce_source": source,
        "ce_time": time.isoformat(timespec="microseconds"),
        "content-type": "application/json",
    }
    if must_understand:
        headers[_MUST_UNDERSTAND] = ",".join(must_understand)
    propagate.inject(headers)
    return headers


def read_headers(raw: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """As text; a header without a value is a missing one."""
    try:
        return {name: value.decode("utf-8") for name, value in raw if value is not None}
    except UnicodeDecodeError as error:
        raise Undecodable("a header is not UTF-8") from error


def read_envelope(headers: Mapping[str, str]) -> Envelope:
    """The envelope, or `Undecodable` naming the header that is missing or wrong."""
    try:
        if headers["ce_specversion"] != SPEC_VERSION:
            raise Undecodable(f"ce_specversion is {headers['ce_specversion']!r}, not {SPEC_VERSION!r}")
        return Envelope(
            id=str(UUID(headers["ce_id"])),
            type=headers["ce_type"],
            subject=headers["ce_subject"],
            source=headers["ce_source"],
            time=_moment(headers["ce_time"]),
            carrier={name: headers[name] for name in ("traceparent", "tracestate") if name in headers},
            must_understand=tuple(filter(None, headers.get(_MUST_UNDERSTAND, "").split(","))),
        )
    except KeyError as error:
        raise Undecodable(f"the header {error.args[0]} is missing") from error
    except ValueError as error:
        raise Undecodable("ce_id is not a UUID, or ce_time not an ISO 8601 time with its zone") from error


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment


def read_body(cls: type[ContractT], value: bytes | None, *, envelope: Envelope | None = None) -> ContractT:
    """The value as its contract; the error names fields but never repeats their content.

    A stop takes from the envelope what cannot be read of the value (shared/contracts/stop.py).
    """
    if not value:
        raise Undecodable("the value is empty")
    try:
        said = {"subject": envelope.subject, "at": envelope.time} if envelope else None
        return cls.model_validate_json(value, context=said)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "value"
        raise Undecodable(
            f"{error.error_count()} error(s) in the value, first at {place}: {first['msg']}"
        ) from error


def event_class(type_name: str) -> type[Event] | None:
    """The class of a known type; None for a type this release does not know."""
    return EVENTS.get(type_name)
