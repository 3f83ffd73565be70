"""One HTTP connection: uvicorn's, with limits on what it may cost that uvicorn does not have.

Of itself uvicorn waits for the head of a request for ever, reads on for ever where a request was answered
before its body came, waits for ever for who does not read the answer, and over its limit of connections
answers 503 also to those who were connected before.
"""

import asyncio
from typing import Any, Final

import h11
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from shared.foundation.errors import NotReady
from shared.foundation.settings import ServiceSettings
from shared.http.problems import problem
from shared.observability import metrics

AFTER_ANSWER_S: Final = 2.0
"""For the rest of a body that nobody reads: closing at once could cost its sender the answer."""


class Connection(H11Protocol):
    """Refused where there are too many; closed where a request does not come in time."""

    def __init__(self, *, service: str, settings: ServiceSettings, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._service = service
        self._most = settings.most_connections
        self._within_s = settings.request_within_s
        self.timeout_keep_alive = settings.keep_alive_s  # type: ignore[assignment]  # only a timer takes it
        self._refused = False
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if len(self.connections) >= self._most:
            self._refuse(transport)
            return
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)
            self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """So much was answered and not read that the transport holds it back; it says when that is over."""
        super().pause_writing()
        self._unread = self.loop.call_later(self._within_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_waiting_for_reader()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        self._stop_waiting_for_reader()
        if not self._refused:
            super().connection_lost(exc)

    def _refuse(self, transport: asyncio.Transport) -> None:
        self._refused = True
        metrics.CONNECTIONS_REFUSED.labels(self._service).inc()
        transport.write(_FULL)
        transport.close()

    def _watch(self) -> None:
        """Let a deadline run exactly while something of a request is missing and nobody else waits for it."""
        within_s = self._patience_s()
        if within_s is None:
            self._stop_watching()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(within_s, self.transport.close)

    def _patience_s(self) -> float | None:
        begun = self.timeout_keep_alive_task is None
        if self.conn.their_state is h11.IDLE and begun:
            return self._within_s
        if self.conn.their_state is h11.SEND_BODY and self.cycle.response_complete:
            return AFTER_ANSWER_S
        return None  # none has begun, or it is whole, or shared/http/bodies.py waits for its body

    def _stop_waiting_for_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _stop_watching(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _as_bytes(answer: Response) -> bytes:
    lines = [b"HTTP/1.1 %d Service Unavailable" % answer.status_code, b"connection: close"]
    lines += [name + b": " + value for name, value in answer.raw_headers]
    return b"\r\n".join([*lines, b"", bytes(answer.body)])


_FULL: Final = _as_bytes(
    problem(NotReady("this process has as many connections as it takes", code="too_many_connections"))
)
