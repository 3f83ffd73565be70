"""Stops: what the ticket service says when access is taken away. They travel on a topic of their own.

A stop names every grant it means, so that its reader expands nothing and asks for no order. It is readable
from its ids alone: whatever else of it cannot be read is as if it were not there.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Final, Self, TypeVar

from pydantic import (
    AwareDatetime,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from shared.contracts.event import About, Actor, Contract, Event
from shared.contracts.ticket import Part, Ticket
from shared.contracts.windows import LONGEST_LEAD, LONGEST_WINDOW

IdsT = TypeVar("IdsT", str, tuple[str, ...])

AFTERWARDS: Final = timedelta(days=45)
"""How long a stop is remembered after the last window it can meet, for what is sent again until then."""
_FURTHEST: Final = LONGEST_LEAD + LONGEST_WINDOW
"""No window that was asked for by now ends later."""


def _storable(ids: IdsT) -> IdsT:
    """An id that no database takes would be met by nothing."""
    if not ids or any(not one or "\0" in one for one in ((ids,) if isinstance(ids, str) else ids)):
        raise ValueError("an id is missing or cannot be one")
    return ids


class StoppedTarget(Contract):
    """A target of which nothing goes on, in this revision and every earlier one."""

    id: str
    revision: Annotated[int, Field(ge=1, lt=2**31)]

    _id = field_validator("id")(_storable)


class StopFact(Event):
    """Base of stops. Absorbing: each holds whenever it comes, also before what it stops.

    `version` is the ticket's, for people: no reader orders by it.
    """

    subject: str = ""
    actor: Actor = Actor.service("ticket")
    ticket_id: str
    grant_ids: tuple[str, ...]
    """Every grant that is stopped, also those that were not approved yet."""
    targets: tuple[StoppedTarget, ...] = ()
    ends_by: AwareDatetime | None = None
    """When the last window it can meet has ended."""
    ticket: Ticket | None = None
    """As it was after this, for whoever tells people of it: its head and the targets of these grants, as in
    any fact of a ticket."""

    @model_validator(mode="wrap")
    @classmethod
    def _without_what_cannot_be_read(
        cls, value: Any, read: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        """The context, if there is one, has what the envelope says in place of fields: see `read_body`."""
        try:
            return read(value)
        except ValidationError as error:
            unreadable = {place[0] for place in (wrong["loc"] for wrong in error.errors()) if place}
            if not isinstance(value, dict):
                raise
            known = {name: item for name, item in value.items() if name not in unreadable}
            return read({**(info.context or {}), **known})

    _ids = field_validator("ticket_id", "grant_ids")(_storable)

    @field_validator("why", "actor", mode="before")
    @classmethod
    def _replace_nul(cls, value: Any) -> Any:
        """Readers store these, and no database takes a NUL."""
        return _without_nul(value)

    def part_of(self, ticket: Ticket) -> Part:
        """What of a ticket it means."""
        return ticket.part((), self.grant_ids)

    @property
    def about(self) -> About:
        if self.ticket is None:
            return About(self.ticket_id)
        part, parties = self.part_of(self.ticket), tuple(sorted(self.ticket.parties))
        return About(self.ticket_id, part.account_ids, parties)

    def remembered_until(self, now: datetime) -> datetime:
        return remembered_until(self.ends_by, now)


class TicketTerminated(StopFact):
    """An approver or an administrator stopped access."""

    TYPE: ClassVar[str] = "ticket.terminated.v1"


class TicketReturned(StopFact):
    """A beneficiary gave access back."""

    TYPE: ClassVar[str] = "ticket.returned.v1"


class TicketWithdrawn(StopFact):
    """The requester dropped what was not granted yet."""

    TYPE: ClassVar[str] = "ticket.withdrawn.v1"


def remembered_until(ends_by: datetime | None, now: datetime) -> datetime:
    """Until when a reader keeps a stop; the longest possible where its last end is not known."""
    furthest = now + _FURTHEST
    return min(max(ends_by or furthest, now), furthest) + AFTERWARDS


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {name: _without_nul(item) for name, item in value.items()}
    return value
