"""How a field says no: a stable code and a sentence for who wrote the value. Rendered by shared/http."""

from pydantic_core import PydanticCustomError


def refused(code: str, sentence: str) -> PydanticCustomError:
    """For validators of fields. `code` is part of the API; the sentence says what to write instead."""
    return PydanticCustomError(code, "{sentence}", {"sentence": sentence})
