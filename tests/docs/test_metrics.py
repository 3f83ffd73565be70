"""docs/metrics.md has a row for every metric of the code, with its kind and labels, and for nothing else."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from tests.support.pages import ROOT, read

KINDS: Final = {"Counter": "counter", "Gauge": "gauge", "Histogram": "histogram"}
_OF_EVERY_SERVICE: Final = re.compile(r"^\| `(jit_\w+)` \| (\w+) \| ([^|]*)\| [^|]+\|$", re.MULTILINE)
_OF_ONE: Final = re.compile(r"^\| `(jit_\w+)` \| \w+ \| (\w+) \| ([^|]*)\| [^|]+\|$", re.MULTILINE)
Metric = tuple[str, str, frozenset[str]]


def in_code() -> Iterator[Metric]:
    for folder in ("services", "shared"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and (metric := _metric(node)):
                    yield metric


def _metric(call: ast.Call) -> Metric | None:
    """The metric that a call makes; `Counter` is the name of another class as well."""
    kind = KINDS.get(getattr(call.func, "id", ""))
    name, labels = (*call.args, None, None, None)[:3:2]
    if kind is None or not isinstance(name, ast.Constant) or not str(name.value).startswith("jit_"):
        return None
    return str(name.value), kind, frozenset(ast.literal_eval(labels) if labels else ())


def on_page() -> Iterator[Metric]:
    text = read(ROOT / "docs" / "metrics.md")
    for name, kind, labels in _OF_EVERY_SERVICE.findall(text):
        yield name, kind, frozenset({"service", *re.findall(r"`(\w+)`", labels)})
    for name, kind, labels in _OF_ONE.findall(text):
        yield name, kind, frozenset(re.findall(r"`(\w+)`", labels))


def test_the_page_has_every_metric_with_its_kind_and_labels() -> None:
    listed = list(on_page())
    assert len(set(listed)) == len(listed)
    assert set(listed) == set(in_code())
