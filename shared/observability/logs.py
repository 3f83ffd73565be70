"""Structured logs: one line per happening, with service, ticket and trace ids where they are known.

Never logged: tokens, passwords, mail texts, request bodies. A user's error logs no stack trace, a bug
always does.
"""

import logging
import sys
import time
from collections.abc import Callable
from typing import Final, Literal

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

REPEAT_AFTER_S: Final = 60.0
_HANDLER: Final = "jit"
MOST_KINDS: Final = 1000
"""Kinds of lines that are remembered; beyond, all may be written again."""

# Local variables, which structlog shows by default, are where the tokens and bodies are.
_tracebacks = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def _trace_ids(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
    return event


_SHARED: Final[tuple[structlog.typing.Processor, ...]] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _trace_ids,
)


def configure(*, fmt: Literal["json", "console"], level: str) -> None:
    """Route structlog and the standard library's loggers to stderr in one format. Once per process."""
    structlog.configure(
        processors=[*_SHARED, *_last(fmt)],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_SHARED, _component],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_last(fmt)],
        )
    )
    handler.addFilter(Repetitions())
    handler.set_name(_HANDLER)
    root = logging.getLogger()
    for former in [one for one in root.handlers if one.get_name() == _HANDLER]:
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    _take_over_faststream()


def _take_over_faststream() -> None:
    """Its import sets up a handler of its own, which prints coloured lines."""
    library = logging.getLogger("faststream")
    library.handlers.clear()
    library.propagate = True
    library.setLevel(logging.ERROR)  # it warns that reading makes no topics, which is as it should be


class Repetitions(logging.Filter):
    """Lets the same line of a library through once a minute, with how many came meanwhile.

    In an outage aiokafka writes tens of lines a second. The first of each kind says what the matter is.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key = (record.name, str(record.msg))
        now = self._monotonic()
        since, held = self._passed.get(key, (now - REPEAT_AFTER_S, 0))
        if now - since < REPEAT_AFTER_S:
            self._passed[key] = (since, held + 1)
            return False
        if len(self._passed) >= MOST_KINDS:
            self._passed.clear()
        self._passed[key] = (now, 0)
        if held:
            record.msg = f"{record.msg} (and {held} more like it)"
        return True


def _last(fmt: Literal["json", "console"]) -> list[structlog.typing.Processor]:
    """What makes a line out of an event."""
    if fmt == "json":
        return [_tracebacks, structlog.processors.JSONRenderer()]
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    return [renderer]


def _component(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A library's logger by name, where ours say their component."""
    record = event.get("_record")
    if record is not None:
        event.setdefault("component", record.name)
    return event


def logger(name: str) -> FilteringBoundLogger:
    log: FilteringBoundLogger = structlog.get_logger(component=name)
    return log
