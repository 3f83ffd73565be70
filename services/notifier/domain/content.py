"""What a mail says, before it is text or HTML: both are written from one `Content`. Pure.

Strings here may hold what people typed; services/notifier/email makes every one of them inert when it
writes them. Here they are only cut to length and split into lines.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol, TypeVar
from urllib.parse import quote

from shared.contracts.documents import Document, User
from shared.contracts.people import Person

DocumentT = TypeVar("DocumentT", bound=Document)

LINE = 300
"""Longest single value, in characters."""
PASSAGE = 2000
"""Longest free text, in characters; the rest is in the ticket."""
SHOWN = 50
"""Most targets, accesses or reviews a mail lists: as many as a ticket has grants."""

AUTHORIZATION = "Authorization: Bearer <your token>"
"""A line of the commands."""

Tone = Literal["action", "good", "bad", "plain"]


class Documents(Protocol):
    """Accounts, sets and users as they are known when the mail is written."""

    def get(self, kind: type[DocumentT], document_id: str, /) -> DocumentT | None: ...


@dataclass(frozen=True)
class ContentRow:
    """A label and its value, in one or more lines."""

    label: str
    lines: tuple[str, ...]
    href: str = ""
    """Where its text leads, if anywhere: the same address that is shown."""


@dataclass(frozen=True)
class Section:
    title: str
    rows: tuple[ContentRow, ...]


@dataclass(frozen=True)
class Addresses:
    """Where people get on from a mail: `api` always, `pages` where there are any."""

    api: str
    pages: str | None = None

    def page(self, noun: str, identity: str) -> str:
        """The page of a ticket or review; empty where there are no pages."""
        return f"{self.pages.rstrip('/')}/{noun}/{quote(identity, safe='')}" if self.pages else ""

    def route(self, noun: str, identity: str) -> str:
        """The address of the same in the API."""
        return f"{self.api.rstrip('/')}/v1/{noun}/{quote(identity, safe='')}"


@dataclass(frozen=True)
class Content:
    subject: str
    """The same in all mails of a ticket to one person: mail programs thread by it."""
    headline: str
    lead: str
    sections: tuple[Section, ...]
    link: str = ""
    """Opens a page; following it changes nothing. Empty where there is no page."""
    link_label: str = ""
    tone: Tone = "plain"
    how_to: str = ""
    commands: tuple[str, ...] = ()
    """Lines to type, shown as they are."""


def row(label: str, *values: str) -> ContentRow:
    return ContentRow(label, tuple(cut(value, LINE) for value in values))


def link(label: str, address: str) -> ContentRow:
    """An address of somebody else's, shown whole; it can be followed only over https."""
    return ContentRow(label, (address,), href=address if address.startswith("https://") else "")


def passage(label: str, text: str) -> ContentRow:
    """Free text, with the lines its writer gave it."""
    lines = cut(text, PASSAGE).splitlines() or [""]
    return ContentRow(label, tuple(lines))


def section(title: str, rows: Iterable[ContentRow | None]) -> Section:
    """Rows without a value are left out."""
    return Section(title, tuple(one for one in rows if one is not None and any(one.lines)))


def at_most(values: Sequence[str], limit: int) -> tuple[str, ...]:
    """The first of them, and how many more there are."""
    if len(values) <= limit:
        return tuple(values)
    return (*values[:limit], f"and {len(values) - limit} more")


def cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit} more characters)"


def utc(moment: datetime) -> str:
    """Seconds only where there are any: windows of the demo are shorter than a minute."""
    at = moment.astimezone(UTC)
    clock = f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"
    return f"{at:%a} {at.day} {at:%b %Y}, {clock} UTC"


def span(length: timedelta) -> str:
    """`1 d 2 h`, `45 min`, `10 s`."""
    seconds = max(0, round(length.total_seconds()))
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def who(person: Person) -> str:
    """`Ann Smith (ann)`."""
    if person.display_name and person.display_name != person.user_name:
        return f"{cut(person.display_name, 80)} ({cut(person.user_name, 80)})"
    return cut(person.user_name, 80)


def who_is(user_id: str, documents: Documents) -> str:
    """A person of whom only the id is at hand."""
    user = documents.get(User, user_id)
    if user is None:
        return user_id
    return who(Person(user_id=user.id, user_name=user.user_name, display_name=user.display_name))


def and_more(names: Iterable[str]) -> str:
    """`a`, or `a and 2 more`."""
    first, *rest = [cut(name, 80) for name in names] or [""]
    return f"{first} and {len(rest)} more" if rest else first
