"""What every event has in common: who, when, why and what caused it.

An event is a fact in the past tense. Its class is frozen, one class per version; fields are only
added, with a default. The envelope (CloudEvents headers) is in shared/messaging/envelope.py; this module and
its neighbours in shared/contracts hold bodies only and do no I/O.
"""

from typing import Any, ClassVar, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict

from shared.contracts.words import Word


class Contract(BaseModel):
    """Base of everything that crosses a service boundary. Readers ignore fields they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class ActorKind(Word):
    PERSON = "person"
    SERVICE = "service"


class Actor(Contract):
    """Who did it. A person is named by token (iss, sub) and Identity Store user; a service by its name."""

    kind: ActorKind
    name: str
    """User name of the person, or the service's name."""
    user_id: str | None = None
    iss: str | None = None
    sub: str | None = None
    client: str | None = None
    ip: str | None = None
    auth_time: AwareDatetime | None = None
    acr: str | None = None

    @classmethod
    def service(cls, name: str) -> "Actor":
        return cls(kind=ActorKind.SERVICE, name=name)


class Revisions(Contract):
    """Which documents a decision was made on: the owners' counters."""

    catalog: int = 0
    rules: int = 0
    inventory: int = 0

    def covers(self, wanted: "Revisions") -> bool:
        """Whether these documents are at least as new as those."""
        return (
            self.catalog >= wanted.catalog
            and self.rules >= wanted.rules
            and self.inventory >= wanted.inventory
        )

    def raised(self, counter: str, revision: int) -> "Revisions":
        """With one counter at least at that revision."""
        if revision <= getattr(self, counter):
            return self
        return self.model_copy(update={counter: revision})


class About(NamedTuple):
    """What a fact is found by: its ticket, its accounts, whose access it is about, and whom it was told."""

    ticket_id: str | None = None
    account_ids: tuple[str, ...] = ()
    """Sorted, each once."""
    party_ids: tuple[str, ...] = ()
    """Requester and beneficiaries that the fact itself names, sorted: they may read the ticket's trail."""
    addressee_ids: tuple[str, ...] = ()
    """Whom a mail was for, sorted: the fact is found by them, and they may read nothing by that."""


class Event(Contract):
    """Base of all facts.

    `subject` is the Kafka key: the ticket id, or the document's id for catalog and rule changes.
    `version` is the aggregate's version after the fact (0 where there is no aggregate to order by).
    `cause` is the id of the event, or of the HTTP request, that led to this one.
    """

    TYPE: ClassVar[str] = ""
    """`noun.past_tense.vN`; the key under which `EVENTS` finds the class."""
    MUST_UNDERSTAND: ClassVar[tuple[str, ...]] = ()
    """Names of fields without which the fact would be misread: a reader that would open access by it, and
    does not know one of them, refuses. Sent as a header, so that it costs nothing where there are none."""

    subject: str
    version: int = 0
    actor: Actor
    why: str = ""
    cause: str | None = None
    at: AwareDatetime
    """When it happened, by the database's clock."""

    @property
    def about(self) -> About:
        """Nothing in particular; each family of facts says what its facts are about."""
        return About()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.TYPE:
            if cls.TYPE in EVENTS:
                raise TypeError(f"two event classes are called {cls.TYPE}: a type name belongs to one class")
            EVENTS[cls.TYPE] = cls


EVENTS: dict[str, type[Event]] = {}
"""Every event class by its type name; filled as the contract modules are imported."""
