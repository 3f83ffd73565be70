"""What a person sees while everything starts: each step, a dot every half second, and how long it took."""

import threading
import time
from types import TracebackType
from typing import Self, TextIO

_EVERY_S = 0.5


class Progress:
    """One line a step. The dots come from a thread of their own: some steps hold up the event loop."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._began: float | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        self._ticker.start()
        return self

    def __exit__(
        self, _cls: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._ticker.join()
        if self._began is not None:
            self._write("\n")

    def step(self, what: str) -> None:
        """The step before is done; this one begins."""
        with self._lock:
            self._close()
            self._began = time.monotonic()
            self._write(f"  {what} ")

    def done(self) -> None:
        """The last step is done."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._began is not None:
            self._write(f" {time.monotonic() - self._began:.1f} s\n")
            self._began = None

    def _tick(self) -> None:
        while not self._ended.wait(_EVERY_S):
            with self._lock:
                if self._began is not None:
                    self._write(".")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
