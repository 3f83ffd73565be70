"""Names that may stand for an id in a request: their form, and the ids that filters mean.

What a name means is decided in shared/policy/names.py. Paths, stops, documents and settings take ids only.
"""

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from shared.context import Context
from shared.contracts.documents import Account, User
from shared.foundation.errors import FieldError, Invalid
from shared.http.access import Caller
from shared.policy.names import LONGEST, Kind, NameReader, Unresolved, meant
from shared.text.refusals import refused


def _one_line(text: str) -> str:
    if "\0" in text or not text.strip():
        raise refused("wrong_form", "give a name or an id")
    return text


Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=LONGEST), AfterValidator(_one_line)]
"""An id, a name, or where there is one an ARN or e-mail, as it was written: it must match exactly."""


def account_id_of(context: Context, caller: Caller, given: str | None) -> str | None:
    """The id that the parameter `account_id` means."""
    return _id_of(context, caller, "account_id", Account, given)


def user_id_of(context: Context, caller: Caller, given: str | None) -> str | None:
    """The id that the parameter `user_id` means."""
    return _id_of(context, caller, "user_id", User, given)


def actor_of(context: Context, caller: Caller, given: str | None) -> str | None:
    """The id that the parameter `actor` means; what no person has as a name stays: services act too."""
    if given is None or not meant(context.policy.known(), User, given):
        return given
    return _id_of(context, caller, "actor", User, given)


def _id_of(context: Context, caller: Caller, field: str, kind: Kind, given: str | None) -> str | None:
    if given is None:
        return None
    names = NameReader(context.policy.known(), caller.user_id, context.clock.now())
    found = names.resolve(kind, given)
    if isinstance(found, Unresolved):
        context.policy.snapshot()  # not knowing yet is no reason to say "unknown"
        noun = field.removesuffix("_id")
        wrong = FieldError(field, f"{noun}_{found.problem}", found.detail)
        raise Invalid(f"please correct {field}; see errors", code="request_invalid", fields=[wrong])
    return found
