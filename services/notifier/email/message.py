"""A letter as a mail: text and HTML with the same content, headers that make threads and stop auto-replies.

The one place where strings become parts of a mail, and where they are made inert. Comes after
services/notifier/domain (what is said) and before services/notifier/email/smtp.py (which sends it).
"""

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from services.notifier.domain.letter import Letter

FOOTER = "Sent by JIT. Answers to this address are not read. All times are UTC."
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

LONGEST_NAME = 64
"""Characters of a recipient's name; a name cannot be folded, and SMTP's lines end at 998 bytes."""

_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Control characters, what reorders or hides text (bidi controls, zero width), lone surrogates, private
use, and line separators that are not ours."""


class BadAddress(ValueError):
    """Nobody can be reached at this address; says why."""


@dataclass(frozen=True)
class Envelope:
    """Who a letter goes to, and which mail of which thread it is."""

    address: str
    name: str
    message_id: str
    thread_id: str
    domain: str
    """Of the List-Id."""
    sender: str
    at: datetime


def inert(text: str) -> str:
    """Without any character that could end a line, reorder or hide its neighbours, or not be encoded."""
    return "".join(REPLACEMENT if unicodedata.category(char) in _UNSAFE else char for char in text)


def compose(letter: Letter, envelope: Envelope) -> EmailMessage:
    """The mail, ready to be sent. Raises `BadAddress` when it could never arrive."""
    message = EmailMessage()
    message["From"] = _sender(envelope.sender)
    message["To"] = _recipient(envelope)
    message["Subject"] = _header_text(letter.subject)
    message["Date"] = format_datetime(envelope.at)
    message["Message-ID"] = envelope.message_id
    message["In-Reply-To"] = envelope.thread_id
    message["References"] = envelope.thread_id
    message["List-Id"] = f"JIT tickets <tickets.{envelope.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    # Quoted-printable keeps every line under SMTP's limit, whatever somebody typed into a reason.
    message.set_content(text_of(letter), cte="quoted-printable")
    message.add_alternative(html_of(letter), subtype="html", cte="quoted-printable")
    return message


def text_of(letter: Letter) -> str:
    return _TEMPLATES.get_template("letter.txt").render(_values(letter))


def html_of(letter: Letter) -> str:
    return _TEMPLATES.get_template("letter.html").render(_values(letter))


def _values(letter: Letter) -> dict[str, Any]:
    return {**vars(letter), "footer": FOOTER}


def _finalize(value: Any) -> Any:
    """Jinja calls this for every value it prints, before escaping."""
    return inert(value) if isinstance(value, str) else value


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).resolve().parent.parent / "templates"),
    autoescape=select_autoescape(("html",), default=False),
    finalize=_finalize,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _header_text(text: str) -> str:
    """Surprise: Python's headers decode encoded words in what is *assigned* to them.

    A name such as `=?utf-8?q?=0d=0aBcc:_x?=` would become a line break and a new header.
    """
    return inert(text).replace("=?", "= ?")


def _sender(sender: str) -> Address:
    name, address = parseaddr(sender)
    return Address(display_name=name or "JIT", addr_spec=address)


def _recipient(envelope: Envelope) -> Address:
    """Exactly one address; a list or a comment in it is refused, not sent."""
    try:
        return Address(display_name=_header_text(envelope.name[:LONGEST_NAME]), addr_spec=envelope.address)
    except (ValueError, IndexError, MessageError) as error:  # the parser's own ways of saying no
        raise BadAddress(f"the address cannot be used: {type(error).__name__}") from error
