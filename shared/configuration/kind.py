"""One kind of configuration document, as one declaration. Adding a kind adds one file to `kinds/`.

Everything that differs between kinds is here; what is the same for all is in changes.py (storing, planning)
and routes.py (HTTP). Pure: a declaration knows documents and snapshots, neither database nor HTTP.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from shared.configuration.order import Direction
from shared.contracts.configuration import Facts, facts_of
from shared.contracts.documents import Document
from shared.foundation.errors import FieldError
from shared.foundation.shapes import Body
from shared.policy.row import SLUG
from shared.policy.snapshot import Snapshot

DocumentT = TypeVar("DocumentT", bound=Document)

ANY_SLUG = r"^[a-z0-9][a-z0-9-]{0,62}$"
"""What may be shown and removed: also ids that could be chosen once and that no policy row can hold."""


@dataclass(frozen=True)
class Situation:
    """What a document is made and judged in."""

    snapshot: Snapshot
    settings: Any = None
    """The owner's settings; a declaration that reads one says which with a Protocol."""


def _from_body(cls: type[DocumentT]) -> Callable[[str, Any, Situation], DocumentT]:
    return lambda document_id, body, _: cls(id=document_id, **body.model_dump())


def _no_effect(_before: Document | None, _after: Document | None, _snapshot: Snapshot) -> Direction | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[DocumentT]):
    """A declaration. `made_by_people` fills in what most kinds have alike."""

    document: type[DocumentT]
    path: str
    """The collection's name in URLs."""
    phrase: str
    """What people call one, with its article."""
    body: type[Body]
    shown: type[BaseModel]
    problems: Callable[[DocumentT, Situation], list[FieldError]]
    """Everything that is wrong with it in this situation; empty when it may be saved."""
    order: Callable[[DocumentT | None, DocumentT | None], Direction]
    """Whether a change narrows whatever all other documents are; None for a document that is not there."""
    examples: tuple[DocumentT, DocumentT]
    """One change: before and after. For documentation and tests."""
    show: Callable[[str, DocumentT | None, Snapshot], BaseModel | None]
    """What is shown of an id; None where there is nothing."""
    make: Callable[[str, Any, Situation], DocumentT]
    effect: Callable[[DocumentT | None, DocumentT | None, Snapshot], Direction | None] = _no_effect
    """What a change does among the documents of now, where that is cheap to know and the order does not."""
    everybody_reads: bool = False
    """Everybody may read it, not only who configures."""
    inventory: Callable[[Snapshot], Iterable[str]] | None = None
    """Ids of everything of AWS that could be registered; None for what people make."""
    id_pattern: str = SLUG
    """Of an id that is written."""
    known_id_pattern: str = ANY_SLUG
    """Of an id that is shown or removed."""

    def __post_init__(self) -> None:
        facts_of(self.document)

    @property
    def noun(self) -> str:
        return self.document.NOUN

    @property
    def owner(self) -> str:
        return self.document.OWNER

    @property
    def facts(self) -> Facts:
        return facts_of(self.document)

    @property
    def id_name(self) -> str:
        """The id's name in paths and problems."""
        return f"{self.noun}_id"


def made_by_people(document: type[DocumentT], *, shown: type[BaseModel], **declared: Any) -> Kind[DocumentT]:
    """A kind whose documents people write whole: made from its body, shown field by field."""

    def show(_id: str, found: DocumentT | None, _snapshot: Snapshot) -> BaseModel | None:
        return None if found is None else shown.model_validate(found.model_dump())

    return Kind(document=document, shown=shown, show=show, make=_from_body(document), **declared)
