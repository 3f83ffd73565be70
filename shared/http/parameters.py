"""The one vocabulary of query parameters, and the refusal of every other name.

A misspelled filter that is ignored answers everything, which looks like an answer.
"""

from typing import Annotated, Any, TypeAlias, get_args, get_origin
from uuid import UUID

from fastapi import Query, Request
from fastapi.routing import APIRoute

from shared.foundation.errors import FieldError, Invalid
from shared.http.names import Name
from shared.http.places import parameters
from shared.http.wording import unknown
from shared.policy.names import LONGEST
from shared.text.moments import Moment

Limit: TypeAlias = Annotated[int, Query(ge=1, le=200, description="how many at most")]
TicketIdFilter: TypeAlias = Annotated[UUID | None, Query(description="only what belongs to this ticket")]
AccountIdFilter: TypeAlias = Annotated[
    Name | None,
    Query(description="an account: its 12 digits, name or ARN", examples=["111111111111", "prod-payments"]),
]
"""As it was written; `account_id_of` gives the id (shared/http/names.py)."""
UserIdFilter: TypeAlias = Annotated[
    Name | None, Query(description="a person: user id, user name or e-mail", examples=["ann@example.com"])
]
"""As it was written; `user_id_of` gives the id."""
NameBeginning: TypeAlias = Annotated[
    str,
    Query(max_length=LONGEST, description="how the name begins, in small or capital letters; empty: all"),
]
Since: TypeAlias = Annotated[Moment | None, Query(description="not before this time")]
Until: TypeAlias = Annotated[Moment | None, Query(description="before this time")]


async def known_parameters(request: Request) -> None:
    """A dependency of every route: refuses query parameters that the route does not declare, or not twice."""
    route = request.scope.get("route")
    names = list(dict.fromkeys(request.query_params))
    if not names:
        return
    declared = parameters(route, "query") if isinstance(route, APIRoute) else {}
    wrong = [
        FieldError(name[:100], *unknown("parameter", name, declared))
        for name in names
        if name not in declared
    ]
    wrong += [
        FieldError(name, "given_twice", "give this once")
        for name in names
        if name in declared
        and len(request.query_params.getlist(name)) > 1
        and not _is_list(declared[name].annotation)
    ]
    if wrong:
        found = ", ".join(one.field for one in wrong[:5])
        raise Invalid(f"please correct {found}; see errors", code="request_invalid", fields=wrong)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(_is_list(one) for one in get_args(annotation))
