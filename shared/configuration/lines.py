"""A change of a document as lines for people: what is different, with names beside ids. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from shared.contracts.documents import (
    Account,
    Document,
    Group,
    OrganizationalUnit,
    PermissionSet,
    SetGroup,
    User,
)
from shared.policy.snapshot import Snapshot

_NAMED: Final[Mapping[str, type[Document]]] = {
    "acct": Account,
    "ou": OrganizationalUnit,
    "ps": PermissionSet,
    "psg": SetGroup,
    "user": User,
    "group": Group,
}
_HIDDEN: Final = frozenset({"id", "revision", "deleted"})


def lines(before: Document | None, after: Document | None, snapshot: Snapshot) -> list[str]:
    """One per difference, in the fields' order: `max_duration: PT1H -> PT8H`, `subjects: + group:1 (dev)`."""
    old, new = _fields(before), _fields(after)
    names = [*new, *(name for name in old if name not in new)]
    return [line for name in names for line in _difference(name, old.get(name), new.get(name), snapshot)]


def _fields(document: Document | None) -> dict[str, Any]:
    if document is None or document.deleted:
        return {}
    body = document.model_dump(mode="json", exclude=set(_HIDDEN))
    return dict(_flat("", body))


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Leaves by their path; a list of texts is one leaf, a list of objects is counted from one."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _flat(f"{prefix}{'.' if prefix else ''}{name}", one)
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        for index, one in enumerate(value, start=1):
            yield from _flat(f"{prefix}[{index}]", one)
    else:
        yield prefix, value


def _difference(name: str, old: Any, new: Any, snapshot: Snapshot) -> Iterator[str]:
    if isinstance(old, list) or isinstance(new, list):
        was, now = old or [], new or []
        yield from (f"{name}: - {named(one, snapshot)}" for one in was if one not in now)
        yield from (f"{name}: + {named(one, snapshot)}" for one in now if one not in was)
    elif old != new:
        yield f"{name}: {_text(old, snapshot)} -> {_text(new, snapshot)}"


def _text(value: Any, snapshot: Snapshot) -> str:
    if value is None or value == "":
        return "nothing"
    return named(value, snapshot) if isinstance(value, str) else str(value).lower()


def named(text: str, snapshot: Snapshot) -> str:
    """A selector, subject or set id with the name of what it means, where that is known."""
    kind, _, document_id = text.rpartition(":") if ":" in text else ("ps", "", text)
    cls = _NAMED.get(kind)
    found = snapshot.get(cls, document_id) if cls is not None else None
    name = getattr(found, "user_name", None) or getattr(found, "name", None)
    return f"{text} ({name})" if name else text
