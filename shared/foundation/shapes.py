"""What the models of the API are made from: bodies that are sent, and answers that are shown.

The text under a field is its description in the OpenAPI document.
"""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict

ACCOUNT_ID: Final = r"^[0-9]{12}$"


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
