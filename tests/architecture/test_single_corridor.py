"""One road between the services, no back doors: what the code may not contain, and where."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [path for top in ("services", "shared", "cli") for path in sorted((ROOT / top).rglob("*.py"))]
SERVICES = {path.parent.name for path in (ROOT / "services").glob("*/__main__.py")}
SUBSCRIBES = {"shared/messaging/consumer.py"}
SENDS = {"shared/messaging/relay.py"}
"""Who may hand something to Kafka."""
CLIENTS = {"shared/messaging/kafka.py"}
"""Who may make a Kafka client."""
APPENDS = {
    "shared/configuration/changes.py",  # the fact of a document, whose revision only its row knows
    "shared/documents/document_store.py",  # documents and markers
    "shared/runtime/service.py",  # facts that are no command's
}
"""Who may append to the outbox besides the stores of the services."""
SQL = re.compile(r"^\s*(SELECT|INSERT INTO|UPDATE \w+ SET|DELETE FROM|WITH \w+ AS)\b", re.IGNORECASE)


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every attribute or function called."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                yield node.lineno, node.func.attr
            elif isinstance(node.func, ast.Name):
                yield node.lineno, node.func.id


@cache
def strings(path: Path) -> tuple[tuple[int, str], ...]:
    """Line and text of every string that is not a docstring; of an f-string, its first part."""
    module = tree(path)
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return tuple(
        (node.lineno, node.value)
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
    )


def test_only_the_factory_subscribes_and_only_the_relay_sends() -> None:
    for path in FILES:
        for line, name in calls(path):
            where = f"{_id(path)}:{line}"
            if name == "subscriber":
                assert _id(path) in SUBSCRIBES, (
                    f"{where}: subscribers are made in shared/messaging/consumer.py only"
                )
            if name in {"publish", "publisher", "send_and_wait"}:
                allowed = SENDS | {
                    "shared/observability/alerts.py"
                }  # SNS's publish, which is no topic of ours
                assert _id(path) in allowed, f"{where}: append to the outbox; only the relay sends"
            if name in {"AIOKafkaProducer", "AIOKafkaConsumer", "AIOKafkaAdminClient"}:
                assert _id(path) in CLIENTS, (
                    f"{where}: Kafka clients are made in shared/messaging/kafka.py only"
                )
            if name == "KafkaBroker":
                assert _id(path) in SUBSCRIBES, (
                    f"{where}: FastStream's broker is made in shared/messaging/consumer.py only"
                )


def test_only_a_store_appends_to_the_outbox() -> None:
    """An event is published by the save that writes its rows, and by few others, each named above."""
    found = {_id(path) for path in FILES for _, name in outbox_calls(path) if name.startswith("append")}
    stores = {path for path in found if re.match(r"services/\w+/store(/|\.py$)", path)}
    assert found - stores == APPENDS, "hand a Change to the store's save; nothing else publishes"
    assert {path.split("/")[1] for path in stores} == SERVICES


def outbox_calls(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every function of shared/messaging/outbox.py that is mentioned, called or not."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "outbox":
            yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom) and node.module == "shared.messaging.outbox":
            yield from ((node.lineno, alias.name) for alias in node.names)


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.is_relative_to(ROOT / "services") and path.parent.name != "services"],
    ids=_id,
)
def test_sql_stands_in_store_and_views_only(path: Path) -> None:
    inside = path.relative_to(ROOT / "services").parts[1]
    if inside.removesuffix(".py") in {"store", "views"} or path.stem == "store":
        return
    for line, text in strings(path):
        assert not SQL.match(text), f"{_id(path)}:{line}: SQL belongs in store.py or views.py"


def test_columns_are_named() -> None:
    for path in FILES:
        for line, text in strings(path):
            assert not re.search(r"SELECT\s+(\w+\.)?\*", text, re.IGNORECASE), (
                f"{_id(path)}:{line}: name the columns; a new one must not change what old code reads"
            )


def test_imports_stand_at_the_top() -> None:
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for inner in ast.walk(node):
                    assert not isinstance(inner, ast.Import | ast.ImportFrom), (
                        f"{_id(path)}:{inner.lineno}: an import inside a function; if it breaks a cycle, "
                        "the cycle is the defect"
                    )


def test_no_business_query_asks_the_server_for_the_time() -> None:
    for path in FILES:
        if _id(path) in {"shared/foundation/clock.py", "shared/database/schema.py"}:
            continue
        for line, text in strings(path):
            assert not re.search(
                r"\b(now|clock_timestamp|statement_timestamp)\(\)|\bCURRENT_TIMESTAMP\b", text
            ), f"{_id(path)}:{line}: time is a value from shared/foundation/clock.py, passed in"


def test_no_row_is_skipped_because_somebody_has_it() -> None:
    for path in FILES:
        if path.is_relative_to(ROOT / "shared"):
            for line, text in strings(path):
                assert "SKIP LOCKED" not in text.upper(), (
                    f"{_id(path)}:{line}: several relays with SKIP LOCKED reorder events"
                )


def test_a_transaction_is_never_open_around_the_network() -> None:
    """No adapter of the network is awaited inside a transaction or a unit of work."""
    adapters = {"identity_center", "centre", "driver", "directory", "smtp", "mailer", "httpx2"}
    for path in FILES:
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.AsyncWith) or not any(_is_transaction(item) for item in node.items):
                continue
            for inner in ast.walk(node):
                if isinstance(inner, ast.Await) and isinstance(inner.value, ast.Call):
                    names = {part.id for part in ast.walk(inner.value.func) if isinstance(part, ast.Name)}
                    attributes = {
                        part.attr for part in ast.walk(inner.value.func) if isinstance(part, ast.Attribute)
                    }
                    assert not (names | attributes) & adapters, (
                        f"{_id(path)}:{inner.lineno}: no call over the network while a transaction is open"
                    )


def test_commands_open_no_transaction() -> None:
    """Who calls a command opens the unit of work: a route, a consumer, or a task in background.py."""
    found = [
        f"{_id(path)}:{line}"
        for path in FILES
        if re.match(r"services/\w+/commands(/|\.py$)", _id(path))
        for line, name in calls(path)
        if name in {"transaction", "unit_of_work", "fenced"}
    ]
    assert not found


def _is_transaction(item: ast.withitem) -> bool:
    call = item.context_expr
    if not isinstance(call, ast.Call):
        return False
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name in {"transaction", "unit_of_work", "fenced"}
