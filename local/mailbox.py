"""A mailbox to look at: receives mail by SMTP on loopback and keeps every message as a file.

It never sends or forwards anything. mailbox_page.py shows what is kept here; tests and the chaos runs use the
controls and the receive log.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

_MESSAGE_IDS = re.compile(r"<[^<>\s]+>")
_FILE = re.compile(r"(\d+)\.eml")


@dataclass(frozen=True, slots=True)
class Receipt:
    """One line of the receive log: a message that was stored, whether or not the sender got to know."""

    id: int
    received_at: str  # RFC 3339, UTC
    message_id: str
    mail_from: str
    recipients: tuple[str, ...]  # of the envelope, so blind copies are in it
    subject: str


@dataclass(frozen=True)
class Mail:
    """One stored message. Bodies are parsed when they are asked for."""

    receipt: Receipt
    raw: bytes

    @cached_property
    def parsed(self) -> EmailMessage:
        return BytesParser(policy=policy.default).parsebytes(self.raw)

    @property
    def thread(self) -> str:
        """Message-ID of the first message of this one's thread."""
        for header in ("References", "In-Reply-To"):
            if ids := _MESSAGE_IDS.findall(str(self.parsed.get(header, ""))):
                return str(ids[0])
        return self.receipt.message_id or f"message {self.receipt.id}"

    @property
    def text(self) -> str | None:
        return self._body("plain")

    @property
    def html(self) -> str | None:
        return self._body("html")

    @property
    def date(self) -> str | None:
        """The sender's Date header as RFC 3339; None when missing or unreadable."""
        try:
            return parsedate_to_datetime(str(self.parsed["Date"])).isoformat()
        except (TypeError, ValueError):
            return None

    def header(self, name: str) -> str:
        return str(self.parsed.get(name, ""))

    def _body(self, kind: str) -> str | None:
        part = self.parsed.get_body(preferencelist=(kind,))
        if part is None:
            return None
        content = part.get_payload(decode=True)
        if not isinstance(content, bytes):
            return None
        try:
            return content.decode(part.get_content_charset("utf-8"), errors="replace")
        except LookupError:  # a charset nobody knows
            return content.decode("utf-8", errors="replace")


@dataclass(slots=True)
class _Refusal:
    """An order to refuse: at RCPT for one recipient, else after DATA; `times` None means until accept_all."""

    answer: str
    recipient: str | None
    times: int | None

    def applies(self, recipient: str | None) -> bool:
        if self.times == 0 or self.recipient != recipient:
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Mailbox:
    """Every message received on this data folder, the newest last. All methods belong to one event loop."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "mail"
        self._folder.mkdir(parents=True, exist_ok=True)
        self.log = self._folder / "received.ndjson"
        _end_last_line(self.log)
        self._mails = {mail.receipt.id: mail for mail in self._stored()}
        self._refusals: list[_Refusal] = []
        self._cuts = 0
        self._server: asyncio.Server | None = None
        self._sessions: set[SMTP] = set()

    @property
    def port(self) -> int:
        """Where the SMTP server listens."""
        if self._server is None:
            raise RuntimeError("The mailbox is not receiving; start it first.")
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self, port: int = 0) -> None:
        """Receive mail on `port` of 127.0.0.1; 0 takes a free one."""
        loop = asyncio.get_running_loop()

        def session() -> SMTP:
            smtp = SMTP(self, hostname="mailbox.localhost", enable_SMTPUTF8=True, loop=loop)
            self._sessions.add(smtp)
            return smtp

        self._server = await loop.create_server(session, "127.0.0.1", port)

    async def stop(self) -> None:
        """Stop receiving and cut whoever is connected; the messages stay."""
        if self._server is None:
            return
        self._server.close()
        for smtp in self._sessions:
            if smtp.transport is not None:
                smtp.transport.abort()
        self._sessions.clear()
        await self._server.wait_closed()
        self._server = None

    def mails(self) -> list[Mail]:
        """All messages in the order in which they were received."""
        return list(self._mails.values())

    def mail(self, number: int) -> Mail | None:
        return self._mails.get(number)

    def refuse(
        self,
        code: int,
        *,
        times: int | None = None,
        recipient: str | None = None,
        reason: str = "refused by order",
    ) -> None:
        """Answer with this SMTP code: to `recipient`, or to whole messages when none is named."""
        self._refusals.append(_Refusal(f"{code} {reason}", recipient, times))

    def cut_after_data(self, times: int = 1) -> None:
        """Store the next messages but cut the connection instead of saying so: their senders cannot know."""
        self._cuts = times

    def accept_all(self) -> None:
        """Take back every order to refuse or cut."""
        self._refusals.clear()
        self._cuts = 0

    # The names and arguments of the next two are aiosmtpd's.
    async def handle_RCPT(  # noqa: N802 - aiosmtpd looks it up by this name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if refusal := self._refusal(address):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd looks it up by this name
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        if refusal := self._refusal(None):
            return refusal
        receipt = self._store(envelope)
        if self._cuts:
            self._cuts -= 1
            server.transport.abort()
            await asyncio.get_running_loop().create_future()  # aiosmtpd cancels us as the connection is gone
        return f"250 OK message {receipt.id}"

    def _refusal(self, recipient: str | None) -> str | None:
        return next((order.answer for order in self._refusals if order.applies(recipient)), None)

    def _store(self, envelope: Envelope) -> Receipt:
        raw = envelope.original_content or b""
        number = max(self._mails, default=0) + 1
        headers = BytesParser(policy=policy.default).parsebytes(raw, headersonly=True)
        receipt = Receipt(
            id=number,
            received_at=datetime.now(UTC).isoformat(),
            message_id=str(headers.get("Message-ID", "")).strip(),
            mail_from=envelope.mail_from or "",
            recipients=tuple(envelope.rcpt_tos),
            subject=str(headers.get("Subject", "")),
        )
        staging = self._folder / f"{number:08}.new"
        _write_durably(staging, raw)
        staging.rename(self._folder / f"{number:08}.eml")
        with self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(asdict(receipt)) + "\n")
        self._mails[number] = Mail(receipt, raw)
        return receipt

    def _stored(self) -> Iterator[Mail]:
        receipts = {receipt.id: receipt for receipt in _read_log(self.log)}
        for path in sorted(self._folder.glob("*.eml")):
            if (match := _FILE.fullmatch(path.name)) is None:
                continue
            number = int(match[1])
            # Without a line the run was killed between file and log: its sender was never told "received",
            # sends it again and so gets a line then.
            if number in receipts:
                yield Mail(receipts[number], path.read_bytes())
            else:
                path.unlink()


@asynccontextmanager
async def mailbox(data: Path, *, port: int = 0) -> AsyncIterator[Mailbox]:
    """A receiving mailbox for as long as the block runs."""
    receiver = Mailbox(data)
    await receiver.start(port)
    try:
        yield receiver
    finally:
        await receiver.stop()


def _end_last_line(log: Path) -> None:
    """A kill may have cut the last line off; the next one must not be glued to it."""
    if log.exists() and not log.read_bytes().endswith(b"\n"):
        with log.open("ab") as file:
            file.write(b"\n")


def _read_log(log: Path) -> Iterator[Receipt]:
    if not log.exists():
        return
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            fields = json.loads(line)
        except ValueError:  # a line cut off by a kill
            continue
        yield Receipt(**{**fields, "recipients": tuple(fields["recipients"])})


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
