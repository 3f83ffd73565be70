"""A later end of live access, as its ticket holds it; its facts are in shared/contracts/ticket.py."""

from pydantic import AwareDatetime

from shared.contracts.event import Contract
from shared.contracts.people import Person
from shared.contracts.windows import Window
from shared.contracts.words import Word


class ExtensionState(Word):
    PENDING = "pending"
    APPROVED = "approved"
    """And not carried out yet."""
    EXTENDED = "extended"
    """The end of at least one grant has moved."""
    REJECTED = "rejected"
    TIMED_OUT = "timed_out"
    """Nobody decided while the access lasted; it ended as planned."""
    WITHDRAWN = "withdrawn"
    """Dropped, or the access was stopped."""
    FAILED = "failed"
    """Approved, and no end could be moved; `code` says why."""


class Extension(Contract):
    """A later end that was asked for while access is live. Its id is its approval subject's."""

    id: str
    target_id: str
    revision: int
    grants: tuple[str, ...]
    """Ids of the grants whose end is to move."""
    requested_by: Person
    ends_at: AwareDatetime
    """The end that is asked for."""
    reason: str
    submitted_at: AwareDatetime
    expires_at: AwareDatetime
    """The end as it is: without an answer by then access ends as planned."""
    state: ExtensionState = ExtensionState.PENDING
    code: str | None = None
    window: Window | None = None
    """From the first start to the new end, as approved; absent before."""
    decided_at: AwareDatetime | None = None
