"""What a body has to be before anything reads it: not too large or slow, JSON, UTF-8, whole, without NUL.

Comes after shared/http/admission.py: nobody makes the service wait who has not said who they are.
"""

import asyncio
import re
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.foundation.errors import JitError, Malformed, TooLarge, TooSlow, UnsupportedMedia
from shared.http.problems import problem

BODY_LIMIT: Final = 256 * 1024
"""Bytes. The largest honest body, a rule with many stages, is a hundredth of it."""

_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000|\x00")
_CHARSET: Final = re.compile(r"charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)


class BodyGuard:
    """Refuses bodies that are too large or not JSON before anything reads them, and NUL anywhere."""

    def __init__(self, app: ASGIApp, *, within_s: float, limit: int = BODY_LIMIT) -> None:
        self._app = app
        self._limit = limit
        self._within_s = within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                receive = await self._guarded(scope, receive)
            except _Gone:
                return
            except JitError as error:
                await problem(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive) -> Receive:
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            raise _nul()
        if scope["method"] not in {"POST", "PUT", "PATCH"}:
            return receive
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self._check_headers(headers)
        body = await self._read_in_time(receive)
        _check_text(body)
        return _replay(body, receive)

    def _check_headers(self, headers: dict[str, str]) -> None:
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._limit:
            raise self._too_large()
        if length in {"", "0"} and "transfer-encoding" not in headers:
            return
        media, _, parameters = headers.get("content-type", "").partition(";")
        if media.strip().lower() != "application/json":
            raise UnsupportedMedia(
                "send the body as JSON, with the header Content-Type: application/json", code="not_json"
            )
        charset = _CHARSET.search(parameters)
        if charset is not None and charset[1].lower() not in {"utf-8", "utf8"}:
            raise UnsupportedMedia("send the body in UTF-8: JSON knows no other", code="not_utf8")
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise UnsupportedMedia("send the body as it is, not compressed", code="content_encoded")

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self._limit // 1024} KiB", code="body_too_large")

    async def _read_in_time(self, receive: Receive) -> bytes:
        try:
            async with asyncio.timeout(self._within_s):
                return await self._read(receive)
        except TimeoutError:
            sentence = f"the body did not arrive whole within {self._within_s:g} seconds; send it again"
            raise TooSlow(sentence, code="body_too_slow") from None

    async def _read(self, receive: Receive) -> bytes:
        """The whole body. A part of one may mean more: a stop without its targets stops everything."""
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise _Gone
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._limit:
                raise self._too_large()
            if not message.get("more_body", False):
                return b"".join(chunks)


class _Gone(Exception):
    """The client went away before its request was complete."""


def _check_text(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8: JSON knows no other encoding", code="not_utf8") from None
    if _NUL.search(body):
        raise _nul()


def _nul() -> Malformed:
    # PostgreSQL has no NUL in text, so that the error would come late and look like a bug.
    return Malformed("the character U+0000 has no place in a request", code="nul_character")


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the body once and then whatever the server says (a disconnect)."""
    given = False

    async def replaying() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replaying
