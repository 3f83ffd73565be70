"""What a requester says about a ticket as a whole, for people: nothing is decided by it.

Tickets, approval subjects, requests and reviews have these fields by inheriting them, and the ticket service
keeps them together. A new one is a field here; services/ticket/domain/description.py says what it may hold.
"""

from typing import Final

from pydantic import Field

from shared.contracts.event import Contract

LONGEST_REFERENCE: Final = 200
LONGEST_LINK: Final = 500
"""Characters. The ticket service says so of what comes in; a fact is read whatever it holds."""


class Description(Contract):
    """All fields are optional: a fact of earlier days has none of the later ones."""

    reference: str | None = Field(
        default=None,
        description=f"a name elsewhere, one line of at most {LONGEST_REFERENCE} characters",
        examples=["INC-4711"],
        json_schema_extra={"maxLength": LONGEST_REFERENCE},
    )
    link: str | None = Field(
        default=None,
        description=f"where the work is described: an https address of at most {LONGEST_LINK} characters",
        examples=["https://changes.example.com/CHG-4711"],
        json_schema_extra={"maxLength": LONGEST_LINK},
    )

    def description(self) -> "Description":
        """These fields alone, out of whatever inherits them."""
        return Description(**{name: getattr(self, name) for name in Description.model_fields})
