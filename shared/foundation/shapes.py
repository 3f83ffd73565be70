"""What the models of the API are made from: bodies that are sent, and answers that are shown.

The text under a field is its description in the OpenAPI document.
"""

from typing import Annotated, Any, Final, TypeAlias

from pydantic import BaseModel, ConfigDict, Strict

ACCOUNT_ID: Final = r"^[0-9]{12}$"

Flag: TypeAlias = Annotated[bool, Strict()]
"""true or false in a body: "no" and 0 are mistakes, and must not be guessed at."""
Count: TypeAlias = Annotated[int, Strict()]
"""A whole number in a body; a string of digits is none."""


class Body(BaseModel):
    """What somebody sends. A field that is unknown is refused: it may be a misspelled one."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Shown(BaseModel):
    """What an answer shows."""

    model_config = ConfigDict(use_attribute_docstrings=True)


def exactly_one(*names: str) -> dict[str, Any]:
    """In a schema: one of these fields is given, the others are left out or null."""
    given = [{"required": [name], "properties": {name: {"type": "string"}}} for name in names]
    return {"allOf": [{"oneOf": given}]}
