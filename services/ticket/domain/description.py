"""What the fields may hold that describe a ticket to people. Each of them may be left out. Pure."""

from collections.abc import Callable, Mapping
from typing import Final

from services.ticket.domain.window import looks_secret
from shared.contracts.description import Description
from shared.foundation.errors import FieldError

LONGEST_REFERENCE: Final = 200


def check_description(description: Description) -> list[FieldError]:
    """Everything that is wrong with the fields that are given."""
    given = {name: value for name, value in dict(description).items() if value is not None}
    return [problem for name, value in given.items() for problem in _CHECKS[name](value)]


def _check_reference(reference: str) -> list[FieldError]:
    if not reference.strip() or len(reference) > LONGEST_REFERENCE or not reference.isprintable():
        sentence = f"a reference is one line of at most {LONGEST_REFERENCE} characters, or is left out"
        return [FieldError("/reference", "reference_invalid", sentence)]
    return looks_secret("/reference", reference)


_CHECKS: Final[Mapping[str, Callable[[str], list[FieldError]]]] = {
    "reference": _check_reference,
}
"""Every field of the contract; a test holds that none is missing."""
