"""A content as a mail: text and HTML with the same content, headers that make threads and stop auto-replies.

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

from services.notifier.domain.content import Content

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
class Headers:
    """What the header of a mail says: who it goes to, and which mail of which thread it is."""

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


def compose(content: Content, headers: Headers) -> EmailMessage:
    """The mail, ready to be sent. Raises `BadAddress` when it could never arrive."""
    message = EmailMessage()
    message["From"] = _sender(headers.sender)
    message["To"] = _recipient(headers)
    message["Subject"] = _header_text(content.subject)
    message["Date"] = format_datetime(headers.at)
    message["Message-ID"] = headers.message_id
    message["In-Reply-To"] = headers.thread_id
    message["References"] = headers.thread_id
    message["List-Id"] = f"JIT tickets <tickets.{headers.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    # Quoted-printable keeps every line under SMTP's limit, whatever somebody typed into a reason.
    message.set_content(text_of(content), cte="quoted-printable")
    message.add_alternative(html_of(content), subtype="html", cte="quoted-printable")
    return message


def text_of(content: Content) -> str:
    return _TEMPLATES.get_template("mail.txt").render(_values(content))


def html_of(content: Content) -> str:
    return _TEMPLATES.get_template("mail.html").render(_values(content))


def _values(content: Content) -> dict[str, Any]:
    return {**vars(content), "footer": FOOTER}


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


def _recipient(headers: Headers) -> Address:
    """Exactly one address; a list or a comment in it is refused, not sent."""
    try:
        return Address(display_name=_header_text(headers.name[:LONGEST_NAME]), addr_spec=headers.address)
    except (ValueError, IndexError, MessageError) as error:  # the parser's own ways of saying no
        raise BadAddress(f"the address cannot be used: {type(error).__name__}") from error
