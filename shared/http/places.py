"""Where in a request an error is: its name for whoever sent it, and what the API says about that field.

Reads FastAPI's and pydantic's declarations, so that no name is written twice. The words are in wording.py.
"""

import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Union, get_args, get_origin

from fastapi import params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.fields import FieldInfo

Loc = tuple[int | str, ...]
_PARAMETERS: Final = {"query": params.Query, "path": params.Path, "header": params.Header}


@dataclass(frozen=True)
class Place:
    """A field as its sender knows it: `/targets/0/account` in a body, `limit` for a parameter."""

    name: str
    description: str = ""
    siblings: tuple[str, ...] = ()
    """The names that are known where it stands."""


def parameters(route: APIRoute, kind: str) -> dict[str, FieldInfo]:
    """The declared parameters of one kind (query, path, header), with those of its dependencies."""
    return {
        field.alias: field.field_info
        for field in get_flat_params(route.dependant)
        if isinstance(field.field_info, _PARAMETERS[kind])
    }


def find(route: APIRoute | None, loc: Loc) -> Place:
    """The place of pydantic's `loc`, whose first part says where in the request it is."""
    kind, rest = (str(loc[0]), loc[1:]) if loc else ("body", ())
    if kind == "body":
        return _find_in_body(route, rest)
    name = str(rest[0]) if rest else ""
    declared = parameters(route, kind) if route is not None and kind in _PARAMETERS else {}
    info = declared.get(name)
    return Place(name, (info.description or "") if info else "", tuple(declared))


def _find_in_body(route: APIRoute | None, rest: Loc) -> Place:
    field = route.body_field if route is not None else None
    annotation: Any = field.field_info.annotation if field is not None else None
    steps = list(_walk(annotation, rest))
    description = next((step.description for step in reversed(steps) if step.description), "")
    pointer = "".join(f"/{_escape(step.name)}" for step in steps if step.name)
    return Place(pointer, description, steps[-1].siblings if steps else ())


def _walk(annotation: Any, parts: Sequence[int | str]) -> Iterator[Place]:
    for part in parts:
        annotation = _bare(annotation)
        if _is_union(annotation):
            annotation = _member(annotation, part)  # names what was tried, of which the sender knows nothing
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
            fields = {info.alias or name: info for name, info in annotation.model_fields.items()}
            info = fields.get(str(part))
            yield Place(str(part), (info.description or "") if info else "", tuple(fields))
            annotation = info.annotation if info else None
        elif part != "[key]":
            yield Place(str(part))
            annotation = (get_args(annotation) or (None,))[-1 if get_origin(annotation) is dict else 0]


def _bare(annotation: Any) -> Any:
    """Without `Annotated` and `| None`."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif _is_union(annotation) and len(members := _members(annotation)) == 1:
            annotation = members[0]
        else:
            return annotation


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in {Union, types.UnionType}


def _members(annotation: Any) -> list[Any]:
    return [one for one in get_args(annotation) if one is not type(None)]


def _member(annotation: Any, part: int | str) -> Any:
    return next((one for one in _members(annotation) if getattr(_bare(one), "__name__", "") == part), None)


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
