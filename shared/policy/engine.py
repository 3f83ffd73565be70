"""The one place where a right is decided: Casbin's matcher over the few rows that can match.

Stock Casbin runs its matcher over every row. Here rows are found by (verb, subject) and scope first, and
the same matcher, parsed once, is evaluated over those only: the same answers, hundreds of times faster.
Rows come from shared/policy/rows.py; asks are built in shared/policy/snapshot.py. No I/O, and no await.
"""

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

from casbin.effect import Effector, get_effector
from casbin.model import Model
from casbin.util import SimpleEval
from rpds import HashTrieMap

from shared.foundation.errors import Bug
from shared.policy.row import Answer, Ask, Row, check_row

MODEL_TEXT: Final = Path(__file__).with_name("policy.conf").read_text(encoding="utf-8")
NOT_READY: Final = Answer(allowed=False, code="NOT_READY")

_REQUEST: Final = ["r_sub", "r_act", "r_scope", "r_ps", "r_seconds", "r_now"]
_ROW: Final = ["p_act", "p_sub", "p_scope", "p_ps", "p_max", "p_nbf", "p_exp", "p_eft", "p_rule"]
_EFFECTS: Final = {"allow": Effector.ALLOW, "deny": Effector.DENY}


class Matcher:
    """Casbin's matcher and effect, parsed once and shared by all engines derived from one.

    Used from one thread only: the parsed matcher keeps its names on itself, so a second thread would get
    answers to the first one's question. A use from another thread raises Bug.
    """

    def __init__(self, model_text: str = MODEL_TEXT) -> None:
        self._expression, self._effect = _load(model_text)
        self._thread: int | None = None

    def matching(self, names: dict[str, Any], entries: Iterable["RowEntry"]) -> list[Row]:
        """The rows among `entries` that the request, given by its names, matches."""
        self._one_thread()
        matched = []
        for entry in entries:
            names.update(entry.names)
            if self._expression.eval(names) is True:
                matched.append(entry.row)
        return matched

    def allows(self, effects: set[int]) -> bool:
        """Whether the effects of all matching rows together allow."""
        return bool(self._effect.final_effect(effects) == Effector.ALLOW)

    def _one_thread(self) -> None:
        here = threading.get_ident()
        if self._thread is None:
            self._thread = here
        if self._thread != here:
            raise Bug("the policy was used from a second thread: this is a bug", code="policy_thread")


@dataclass(frozen=True, slots=True)
class RowEntry:
    """A row and the names under which the matcher reads it."""

    row: Row
    names: Mapping[str, Any]


_Documents: TypeAlias = "HashTrieMap[str, tuple[Row, ...]]"
_Entries: TypeAlias = "HashTrieMap[tuple[str, str], dict[str, tuple[RowEntry, ...]]]"
_Subjects: TypeAlias = "HashTrieMap[tuple[str, str], dict[str, int]]"


@dataclass(frozen=True, slots=True)
class PolicyEngine:
    """All rows of all documents. Immutable: a replacement gives another engine that shares the rest.

    The small dictionaries inside are copied before they are changed, never changed in place.
    """

    matcher: Matcher = field(default_factory=Matcher)
    _documents: _Documents = field(default_factory=HashTrieMap, repr=False)
    _entries: _Entries = field(default_factory=HashTrieMap, repr=False)
    """By verb and subject, then by scope."""
    _subjects: _Subjects = field(default_factory=HashTrieMap, repr=False)
    """By verb and scope: every subject with the number of its rows."""

    def rows(self) -> tuple[Row, ...]:
        return tuple(row for rows in self._documents.values() for row in rows)

    def replace(self, document_key: str, rows: Iterable[Row]) -> "PolicyEngine":
        """With `rows` in the place of all the document's rows. Raises RowRefused if any is malformed."""
        after = tuple(rows)
        for row in after:
            check_row(row)
        before = self._documents.get(document_key, ())
        documents = self._documents.insert(document_key, after) if after else self._documents
        if before and not after:
            documents = documents.remove(document_key)
        entries, subjects = self._entries, self._subjects
        for row in before:
            entries, subjects = _drop(entries, row), _count(subjects, row, -1)
        for row in after:
            entries, subjects = _add(entries, row), _count(subjects, row, 1)
        return PolicyEngine(self.matcher, documents, entries, subjects)

    def decide(self, ask: Ask) -> Answer:
        """Allowed if a row allows it and none denies it. Empty sets match nothing."""
        matched = self._matches(ask)
        effects = {_EFFECTS[row.effect] for row in matched}
        if self.matcher.allows(effects):
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
        candidates: list[RowEntry] = []
        for subject in ask.subjects:
            by_scope = self._entries.get((ask.verb, subject))
            if by_scope is not None:
                for scope in ask.scopes:
                    candidates += by_scope.get(scope, ())
        return self.matcher.matching(names, candidates)


def _add(entries: _Entries, row: Row) -> _Entries:
    key = (row.verb, row.subject)
    by_scope = entries.get(key) or {}
    added = (*by_scope.get(row.scope, ()), RowEntry(row, _row_names(row)))
    return entries.insert(key, {**by_scope, row.scope: added})


def _drop(entries: _Entries, row: Row) -> _Entries:
    key = (row.verb, row.subject)
    by_scope = dict(entries[key])
    left = list(by_scope.pop(row.scope))
    # By identity: another document may hold an equal row, but never this one.
    del left[next(i for i, entry in enumerate(left) if entry.row is row)]
    if left:
        by_scope[row.scope] = tuple(left)
    return entries.insert(key, by_scope) if by_scope else entries.remove(key)


def _count(subjects: _Subjects, row: Row, by: int) -> _Subjects:
    key = (row.verb, row.scope)
    counts = dict(subjects.get(key) or {})
    counts[row.subject] = counts.get(row.subject, 0) + by
    if not counts[row.subject]:
        del counts[row.subject]
    return subjects.insert(key, counts) if counts else subjects.remove(key)


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
