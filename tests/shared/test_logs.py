"""Logs: one line of JSON per happening, with ids, and never a local variable."""

import json
from collections.abc import Iterator

import pytest
import structlog
from structlog.contextvars import bound_contextvars
from structlog.typing import FilteringBoundLogger

from shared.observability import logs, tracing


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def log_to(_capsys: pytest.CaptureFixture[str]) -> FilteringBoundLogger:
    """A logger that writes to what the test captures, which is there only while the test runs."""
    logs.configure(fmt="json", level="INFO")
    return logs.logger("test")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def fail() -> None:
    token = "hunter2"  # noqa: F841 (a local variable is what must not be shown)
    raise RuntimeError("wrong")


def test_a_stack_trace_shows_no_local_variable(capsys: pytest.CaptureFixture[str]) -> None:
    log = log_to(capsys)
    try:
        fail()
    except RuntimeError:
        log.exception("it failed")
    (line,) = lines(capsys)
    assert "RuntimeError" in json.dumps(line)
    assert "hunter2" not in json.dumps(line)


def test_a_line_carries_service_ticket_and_trace(capsys: pytest.CaptureFixture[str]) -> None:
    log = log_to(capsys)
    tracing.configure(service="ticket", endpoint=None)
    carrier = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    with bound_contextvars(service="ticket", ticket="t-1"), tracing.span("work", carrier=carrier):
        log.info("done", number=1)
    (line,) = lines(capsys)
    assert (line["service"], line["ticket"], line["event"], line["level"]) == (
        "ticket",
        "t-1",
        "done",
        "info",
    )
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert line["timestamp"]


def test_less_than_the_level_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    log = log_to(capsys)
    log.debug("not said")
    assert lines(capsys) == []
