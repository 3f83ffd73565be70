"""The one place where a right is decided: Casbin's matcher over the few rows that can match.

Stock Casbin runs its matcher over every row. Here rows are found by (verb, subject, scope) first, and
the same matcher, parsed once, is evaluated over those only: the same answers, hundreds of times faster.
Rows come from shared/policy/rows.py; asks are built in shared/policy/world.py. No I/O, and no await.
"""

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from casbin.effect import Effector, get_effector
from casbin.model import Model
from casbin.util import SimpleEval

from shared.foundation.errors import Bug
from shared.policy.row import Answer, Ask, Row, check_row

MODEL_TEXT: Final = Path(__file__).with_name("policy.conf").read_text(encoding="utf-8")
NOT_READY: Final = Answer(allowed=False, code="NOT_READY")

_REQUEST: Final = ["r_sub", "r_act", "r_scope", "r_ps", "r_seconds", "r_now"]
_ROW: Final = ["p_act", "p_sub", "p_scope", "p_ps", "p_max", "p_nbf", "p_exp", "p_eft", "p_rule"]
_EFFECTS: Final = {"allow": Effector.ALLOW, "deny": Effector.DENY}


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row and the names under which the matcher reads it."""

    row: Row
    names: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Document:
    revision: int
    rows: tuple[Row, ...]


class Policy:
    """All rows of all documents, replaced document by document and asked one question at a time.

    Asked and changed from one thread only: the parsed matcher keeps its names on itself, so a second
    thread would get answers to the first one's question. A use from another thread raises Bug.
    """

    def __init__(self, model_text: str = MODEL_TEXT) -> None:
        self._matcher, self._effect = _load(model_text)
        self._documents: dict[str, _Document] = {}
        self._index: dict[tuple[str, str, str], tuple[_Entry, ...]] = {}
        self._subjects: dict[tuple[str, str], dict[str, int]] = {}
        self._thread: int | None = None

    def __len__(self) -> int:
        return sum(len(document.rows) for document in self._documents.values())

    def rows(self) -> tuple[Row, ...]:
        return tuple(row for document in self._documents.values() for row in document.rows)

    def replace(self, document_key: str, revision: int, rows: Iterable[Row]) -> bool:
        """Put `rows` in the place of all the document's rows, unless a same or newer revision is known.

        Raises RowRefused, with the old rows still in force, if any row is malformed.
        """
        self._one_thread()
        known = self._documents.get(document_key)
        if known is not None and revision <= known.revision:
            return False
        fresh = tuple(rows)
        for row in fresh:
            check_row(row)
        self._unindex(known.rows if known is not None else ())
        self._documents[document_key] = _Document(revision, fresh)
        for row in fresh:
            self._add(row)
        return True

    def remove(self, document_key: str, revision: int) -> bool:
        """Drop the document's rows; its revision stays known, so that a late replay adds nothing."""
        return self.replace(document_key, revision, ())

    def decide(self, ask: Ask) -> Answer:
        """Allowed if a row allows it and none denies it. Empty sets match nothing."""
        self._one_thread()
        matched = self._matches(ask)
        effects = {_EFFECTS[row.effect] for row in matched}
        allowed = self._effect.final_effect(effects) == Effector.ALLOW
        if allowed:
            return _answer("ALLOW", matched)
        if Effector.DENY in effects:
            return _answer("EXPLICIT_DENY", [row for row in matched if row.effect == "deny"])
        return Answer(allowed=False, code="NO_RULE")

    def longest(self, ask: Ask) -> timedelta | None:
        """The longest length the ask's sets allow at its `now`; None if not even its own is allowed."""
        if not self.decide(ask).allowed:
            return None
        seconds = max(row.max_seconds for row in self._matches(ask) if row.effect == "allow")
        return timedelta(seconds=seconds) if seconds < timedelta.max.total_seconds() else timedelta.max

    def subjects_with(self, verb: str, scopes: Collection[str]) -> frozenset[str]:
        """Every subject that has a row, allow or deny, for the verb on any of the scopes."""
        return frozenset(subject for scope in scopes for subject in self._subjects.get((verb, scope), ()))

    def _matches(self, ask: Ask) -> list[Row]:
        names: dict[str, Any] = {
            "r_sub": ask.subjects,
            "r_act": frozenset({ask.verb}),
            "r_scope": ask.scopes,
            "r_ps": ask.sets,
            "r_seconds": ask.length.total_seconds(),
            "r_now": ask.now,
        }
        matched = []
        for subject in ask.subjects:
            for scope in ask.scopes:
                for entry in self._index.get((ask.verb, subject, scope), ()):
                    names.update(entry.names)
                    if self._matcher.eval(names) is True:
                        matched.append(entry.row)
        return matched

    def _add(self, row: Row) -> None:
        key = (row.verb, row.subject, row.scope)
        self._index[key] = (*self._index.get(key, ()), _Entry(row, _row_names(row)))
        subjects = self._subjects.setdefault((row.verb, row.scope), {})
        subjects[row.subject] = subjects.get(row.subject, 0) + 1

    def _unindex(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._drop(row)

    def _drop(self, row: Row) -> None:
        key = (row.verb, row.subject, row.scope)
        entries = list(self._index.pop(key))
        # By identity: another document may hold an equal row, but never this one.
        del entries[next(i for i, entry in enumerate(entries) if entry.row is row)]
        if entries:
            self._index[key] = tuple(entries)
        subjects = self._subjects[row.verb, row.scope]
        subjects[row.subject] -= 1
        if not subjects[row.subject]:
            del subjects[row.subject]
        if not subjects:
            del self._subjects[row.verb, row.scope]

    def _one_thread(self) -> None:
        here = threading.get_ident()
        if self._thread is None:
            self._thread = here
        if self._thread != here:
            raise Bug("the policy was used from a second thread: this is a bug", code="policy_thread")


def _answer(code: Any, rows: Iterable[Row]) -> Answer:
    deciding = tuple(rows)
    return Answer(
        allowed=code == "ALLOW",
        code=code,
        rules=tuple(sorted({row.rule for row in deciding})),
        proof=tuple(sorted({str(row) for row in deciding})),
    )


def _row_names(row: Row) -> dict[str, Any]:
    values = (
        row.verb,
        row.subject,
        row.scope,
        row.set,
        row.max_seconds,
        row.not_before,
        row.expires,
        row.effect,
        row.rule,
    )
    return dict(zip(_ROW, values, strict=True))


def _load(text: str) -> tuple[SimpleEval, Effector]:
    """The model's matcher, parsed, and its effect. Raises ValueError if it is not the model we know."""
    model = Model()
    model.load_model_from_text(text)
    # `in model` never ends: Casbin's model answers every subscript and has no __contains__.
    sections = {section: list(model[section]) for section in model.keys()}  # noqa: SIM118
    if sections != {"r": ["r"], "p": ["p"], "e": ["e"], "m": ["m"]}:
        raise ValueError(f"policy.conf must hold one each of r, p, e and m and no g: it holds {sections}")
    if model["r"]["r"].tokens != _REQUEST or model["p"]["p"].tokens != _ROW:
        raise ValueError("policy.conf names other fields than the engine fills")
    # Casbin's own rewriting of `!` would also change string literals; the matcher does without it.
    expression = model["m"]["m"].value.replace("&&", " and ").replace("||", " or ")
    if "!" in expression:
        raise ValueError("policy.conf: `!` is not available in the matcher")
    return SimpleEval(expression, {"num": float}), get_effector(model["e"]["e"].value)
