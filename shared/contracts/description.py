"""What a requester says about a ticket as a whole, for people: nothing is decided by it.

Tickets, approval subjects, requests and reviews have these fields by inheriting them, and the ticket service
keeps them together. A new one is a field here; services/ticket/domain/description.py says what it may hold.
"""

from pydantic import Field

from shared.contracts.event import Contract


class Description(Contract):
    """All fields are optional: a fact of earlier days has none of the later ones.

    The lengths are for readers of the schema; the ticket service refuses what is longer.
    """

    reference: str | None = Field(
        default=None,
        description="a name elsewhere, one line of at most 200 characters",
        examples=["INC-4711"],
        json_schema_extra={"maxLength": 200},
    )
    link: str | None = Field(
        default=None,
        description="where the work is described: an https address of at most 500 characters",
        examples=["https://changes.example.com/CHG-4711"],
        json_schema_extra={"maxLength": 500},
    )

    def description(self) -> "Description":
        """These fields alone, out of whatever inherits them."""
        return Description(**{name: getattr(self, name) for name in Description.model_fields})
