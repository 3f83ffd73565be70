"""Sensitive marks: what an approver should know about an account or a permission set before anything else.

A mark changes no right. Previews, reviews and approvers' mails show it with its sentence.
"""

import re
from typing import Annotated, ClassVar, Final

from pydantic import Field

from shared.configuration.kind import Kind, Situation
from shared.configuration.kinds.permission_set import SET_ID
from shared.configuration.order import NEITHER, Direction, presence, reverse
from shared.contracts.documents import Account, Document, PermissionSet
from shared.foundation.errors import FieldError
from shared.foundation.shapes import ACCOUNT_ID, Body, Shown
from shared.policy.snapshot import Snapshot
from shared.text.secrets_in_text import holds_secret
from shared.text.texts import Line

_MARKED: Final = f"{ACCOUNT_ID}|{SET_ID}"


class SensitiveMark(Document):
    """Its id is that of the account or permission set it is on."""

    KIND: ClassVar[str] = "sensitive_mark"
    OWNER: ClassVar[str] = "ticket"
    NOUN: ClassVar[str] = "sensitive_mark"
    AWS_ID: ClassVar[bool] = True

    why: str
    """A sentence for those who ask and those who approve."""


class SensitiveMarkBody(Body):
    """Why access to it deserves a second look."""

    why: Annotated[Line, Field(min_length=10)] = Field(
        description="a sentence; who asks and who approves read it", examples=["Holds the card numbers"]
    )


class SensitiveMarkShown(Shown):
    """The mark of an account or a permission set."""

    id: str = Field(description="of the account or permission set")
    name: str = Field(description="its name; empty where AWS does not have it any more")
    why: str
    revision: int

    @classmethod
    def of(cls, mark: SensitiveMark, snapshot: Snapshot) -> "SensitiveMarkShown":
        marked = _marked(mark.id, snapshot)
        return cls(id=mark.id, name=marked.name if marked else "", why=mark.why, revision=mark.revision)


def marks_shown(account_id: str, set_id: str, snapshot: Snapshot) -> list[SensitiveMarkShown]:
    """The marks on a target: of its account, then of its permission set."""
    marks = (snapshot.get(SensitiveMark, marked) for marked in (account_id, set_id))
    return [SensitiveMarkShown.of(mark, snapshot) for mark in marks if mark is not None]


def _marked(document_id: str, snapshot: Snapshot) -> Account | PermissionSet | None:
    return snapshot.get(Account, document_id) or snapshot.get(PermissionSet, document_id)


def _problems(document: SensitiveMark, situation: Situation) -> list[FieldError]:
    problems = []
    if _marked(document.id, situation.snapshot) is None:
        noun = "account" if re.fullmatch(ACCOUNT_ID, document.id) else "permission set"
        sentence = f"AWS has no {noun} {document.id}, as far as the inventory knows"
        problems.append(FieldError("sensitive_mark_id", "marked_unknown", sentence))
    if holds_secret(document.why):
        sentence = "this looks like it holds a secret; take it out (it would be mailed and kept for years)"
        problems.append(FieldError("/why", "looks_secret", sentence))
    return problems


def _order(before: SensitiveMark | None, after: SensitiveMark | None) -> Direction:
    """A warning more is less to slip through; what it says is for people to judge."""
    return reverse(presence(before, after) or NEITHER)


def _show(_id: str, found: SensitiveMark | None, snapshot: Snapshot) -> SensitiveMarkShown | None:
    return None if found is None else SensitiveMarkShown.of(found, snapshot)


SENSITIVE_MARK = Kind(
    document=SensitiveMark,
    path="sensitive-marks",
    phrase="a sensitive mark",
    body=SensitiveMarkBody,
    shown=SensitiveMarkShown,
    make=lambda marked, body, _: SensitiveMark(id=marked, **body.model_dump()),
    problems=_problems,
    order=_order,
    show=_show,
    everybody_reads=True,
    id_pattern=_MARKED,
    known_id_pattern=_MARKED,
    examples=(
        SensitiveMark(id="111111111111", revision=11, why="Holds the card numbers"),
        SensitiveMark(id="111111111111", revision=12, why="Holds the card numbers of all customers"),
    ),
)
