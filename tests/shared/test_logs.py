"""Logs: one line of JSON per happening, with ids, and never a local variable."""

import json
import logging
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


def test_a_line_of_a_library_is_json_with_its_cause(capsys: pytest.CaptureFixture[str]) -> None:
    log_to(capsys)
    library = logging.getLogger("aiokafka.conn")
    try:
        fail()
    except RuntimeError:
        library.exception("Unable to connect to %s", "kafka:9092")
    with bound_contextvars(service="ticket"):
        library.warning("100 % gone")
    first, second = lines(capsys)
    assert (first["component"], first["level"], first["event"]) == (
        "aiokafka.conn", "error", "Unable to connect to kafka:9092",
    )  # fmt: skip
    assert "RuntimeError" in json.dumps(first["exception"])
    assert "hunter2" not in json.dumps(first)
    assert (second["event"], second["service"]) == ("100 % gone", "ticket")


def test_a_library_that_prints_by_itself_is_taken_over(capsys: pytest.CaptureFixture[str]) -> None:
    library = logging.getLogger("faststream")
    library.addHandler(logging.StreamHandler())  # as its import does
    library.setLevel(logging.INFO)
    library.propagate = False
    log_to(capsys)
    library.info("Consumer assigned to partitions")
    library.warning("Auto create topics is disabled")
    library.error("the connection is lost")
    (line,) = lines(capsys)
    assert (line["component"], line["event"]) == ("faststream", "the connection is lost")


def test_a_library_that_repeats_itself_is_let_through_once_a_minute() -> None:
    now = 100.0
    seldom = logs.Repetitions(monotonic=lambda: now)

    def line(text: str) -> logging.LogRecord:
        return logging.LogRecord("aiokafka", logging.ERROR, "", 0, text, (), None)

    assert [seldom.filter(line("lost")) for _ in range(3)] == [True, False, False]
    assert seldom.filter(line("another"))
    now += logs.REPEAT_AFTER_S
    again = line("lost")
    assert seldom.filter(again)
    assert again.getMessage() == "lost (and 2 more like it)"


def test_less_than_the_level_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    log = log_to(capsys)
    log.debug("not said")
    assert lines(capsys) == []
