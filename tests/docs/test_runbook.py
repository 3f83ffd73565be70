"""Every alert the code can raise has an entry in the runbook, and every entry an alert."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.pages import ROOT, read

RUNBOOK = ROOT / "docs" / "runbook.md"
BEGUN_BY_A_VALUE = {
    "services/provisioner/domain/alarms.py": (
        "no_witness/",
        "witness_mismatch/",
        "witness_invalid/",
        "no_claim/",
    ),
}
"""Keys whose beginning is not in the text of the call: a refusal's code, and what codes can come there."""

HANDED_THROUGH = {
    "shared/runtime/watch.py",
    "shared/database/unit_of_work.py",
    "services/audit/commands.py",
}


def alert_keys() -> dict[str, str]:
    """The fixed beginning of each key that is raised, and where."""
    found = {}
    for folder in ("services", "shared"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            name = str(file.relative_to(ROOT))
            for key in keys_in(file, name):
                found[key] = name
    return found


def keys_in(file: Path, name: str) -> Iterator[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    returned = {
        node.name: node.body[-1].value
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.body and isinstance(node.body[-1], ast.Return)
    }
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        keyword = next((word.value for word in call.keywords if word.arg == "key"), None)
        if called == "raise_alert":
            expression = keyword
        elif (called == "_report" and name == "shared/runtime/watch.py") or (
            called == "Alert" and name != "shared/observability/alerts.py"
        ):
            expression = keyword or call.args[0]
        else:
            continue
        if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name):
            expression = returned.get(expression.func.id)
        yield from beginnings(expression, name)


def beginnings(expression: ast.expr | None, name: str) -> Iterator[str]:
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        yield expression.value
        return
    if isinstance(expression, ast.JoinedStr):
        first = expression.values[0]
        if isinstance(first, ast.Constant):
            yield str(first.value)
            return
        assert name in BEGUN_BY_A_VALUE, (
            f"{name} raises an alert whose key begins with a value: nobody could look it up. Begin it with a "
            "fixed word."
        )
        yield from BEGUN_BY_A_VALUE[name]
        return
    # Here a key is only handed through; the calls that make it are looked at themselves.
    assert name in HANDED_THROUGH, f"{name} raises an alert under a key this test cannot read"


def entries() -> set[str]:
    section = read(RUNBOOK).partition("\n## Alerts\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^### `([^`]+)`$", section, re.MULTILINE))


def test_every_alert_has_an_entry() -> None:
    known = entries()
    for key, where in alert_keys().items():
        assert {key, key.rstrip("/")} & known, (
            f"{where} raises `{key}` and docs/runbook.md has no entry for it: what does it mean, how bad is "
            "it, what is to be done?"
        )


def test_every_entry_has_an_alert() -> None:
    raised = set(alert_keys())
    for entry in entries():
        assert {entry, f"{entry}/"} & raised, f"docs/runbook.md has `{entry}`, which nothing raises any more"


def test_keys_are_found_where_they_are_known_to_be() -> None:
    known = {"start", "task/", "handler/", "dead_letter/", "tables_stale", "revoke_overdue", "grant_failed/"}
    assert known <= set(alert_keys()), "the search for alerts overlooks some"
