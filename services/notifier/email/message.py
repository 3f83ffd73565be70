"""A content as a mail: text and HTML with the same content, headers that make threads and stop auto-replies.

The one place where strings become parts of a mail, and where they are made inert. Comes after
services/notifier/domain (what is said) and before services/notifier/email/smtp.py (which sends it).
"""

import binascii
import hashlib
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.header import Header
from email.headerregistry import Address
from email.utils import format_datetime, parseaddr, quote
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from services.notifier.domain.content import Content

FOOTER = "Sent by JIT. Answers to this address are not read. All times are UTC."
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

LONGEST_NAME = 64
"""Characters of a recipient's name; one in quotes cannot be folded, and SMTP's lines end at 998 bytes."""

_LINE: Final = 76
_NAME: Final = 40
"""A longer one leaves its line to itself."""

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


def compose(content: Content, headers: Headers) -> bytes:
    """The mail as it is sent: ASCII but for an address that is not. Raises `BadAddress` when nobody is there.

    Written here, since `email.message` takes ten times as long; tests read it with the standard parser.
    """
    # "=" is followed by a hexadecimal digit or a line's end in every part, so no part holds the boundary.
    boundary = "=_" + hashlib.sha256(headers.message_id.encode()).hexdigest()[:32]
    lines = [
        f"From: {_mailbox(_sender(headers.sender))}",
        f"To: {_mailbox(_recipient(headers))}",
        f"Subject: {_encoded(_header_text(content.subject), after='Subject: ')}",
        f"Date: {format_datetime(headers.at)}",
        f"Message-ID: {headers.message_id}",
        f"In-Reply-To: {headers.thread_id}",
        f"References: {headers.thread_id}",
        f"List-Id: JIT tickets <tickets.{headers.domain}>",
        "Auto-Submitted: auto-generated",
        "X-Auto-Response-Suppress: All",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/alternative; boundary="{boundary}"',
        "",
        *_part(boundary, "plain", text_of(content)),
        *_part(boundary, "html", html_of(content)),
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode()


def _part(boundary: str, subtype: str, text: str) -> list[str]:
    """Quoted-printable keeps every line under SMTP's limit, whatever somebody typed into a reason."""
    body = text.replace("\n", "\r\n").encode()
    return [
        f"--{boundary}",
        f'Content-Type: text/{subtype}; charset="utf-8"',
        "Content-Transfer-Encoding: quoted-printable",
        "",
        binascii.b2a_qp(body, istext=True).decode("ascii"),
    ]


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
    """What readers take for an encoded word is none of ours.

    A name such as `=?utf-8?q?=0d=0aBcc:_x?=` would become a line break and a new header in some of them.
    """
    return inert(text).replace("=?", "= ?")


def _encoded(text: str, *, after: str) -> str:
    """Header text as it is where it is short and plain, else as encoded words on lines that are short."""
    if text.isascii() and text == text.strip() and len(after) + len(text) <= _LINE:
        return text
    return Header(text, "utf-8", maxlinelen=_LINE, header_name=after).encode(linesep="\r\n")


def _mailbox(address: Address) -> str:
    name = address.display_name
    if not name:
        return address.addr_spec
    shown = f'"{quote(name)}"' if name.isascii() else _encoded(name, after="From: ")
    return f"{shown}\r\n <{address.addr_spec}>" if len(shown) > _NAME else f"{shown} <{address.addr_spec}>"


def _sender(sender: str) -> Address:
    name, address = parseaddr(sender)
    return Address(display_name=_header_text(name) or "JIT", addr_spec=address)


def _recipient(headers: Headers) -> Address:
    """Exactly one address; a list or a comment in it is refused, not sent."""
    try:
        found = Address(display_name=_header_text(headers.name[:LONGEST_NAME]), addr_spec=headers.address)
    except (ValueError, IndexError, MessageError) as error:  # the parser's own ways of saying no
        raise BadAddress(f"the address cannot be used: {type(error).__name__}") from error
    if found.addr_spec != headers.address:
        raise BadAddress("the address cannot be used: it is more than an address")
    return found
