"""Mails as bytes, read back with the standard parser: whatever the words are, nothing is added or lost."""

import email
from dataclasses import fields
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.content import Content, Section
from services.notifier.email.message import BadAddress, Headers, compose, html_of, inert, text_of

HEADERS = [
    "From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "List-Id", "Auto-Submitted",
    "X-Auto-Response-Suppress", "MIME-Version", "Content-Type",
]  # fmt: skip
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TEXT = st.text(max_size=200) | st.sampled_from(
    [
        "a\r\nBcc: victim@example.com", "=?utf-8?q?=0d=0aBcc:_x?=", "Ünï çödé " * 20, "x" * 300, " edge ",
        "日本語の件名" * 10, "\u202egnirts", "--=_", "\t", "a  b", ".", "From x", 'quote " and \\ slash',
    ]
)  # fmt: skip


def content(subject: str, words: str) -> Content:
    return Content(subject=subject, headline=words, lead=words, sections=())


def headers(**changes: Any) -> Headers:
    given: dict[str, Any] = {
        "address": "ann@example.com", "name": "Ann", "message_id": "<1@jit>", "thread_id": "<0@jit>",
        "domain": "jit", "sender": "JIT <jit@example.com>", "at": AT,
    }  # fmt: skip
    return Headers(**(given | changes))


def parsed(mail: bytes) -> EmailMessage:
    message = email.message_from_bytes(mail, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def shown(text: str) -> str:
    """As the header says it, without blanks: readers fold them, and this parser adds some to long names."""
    return "".join(inert(text).replace("=?", "= ?").split())


@given(subject=TEXT, name=TEXT, body=TEXT)
def test_mail_of_any_words_is_read_as_it_was_meant(subject: str, name: str, body: str) -> None:
    made, sent_to = content(subject, body), headers(name=name)
    mail = compose(made, sent_to)
    message = parsed(mail)
    assert list(message.keys()) == HEADERS
    assert [defect for part in message.walk() for defect in part.defects] == []
    assert all(not message[header].defects for header in ("From", "To", "Subject"))
    assert shown(message["Subject"]) == shown(subject)
    (to,) = message["To"].addresses
    assert (to.addr_spec, shown(to.display_name)) == ("ann@example.com", shown(name[:64]))
    plain, html = message.iter_parts()
    assert (plain.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert plain.get_content().split("\r\n") == text_of(made).split("\n")
    assert html.get_content().split("\r\n") == html_of(made).split("\n")


@given(subject=TEXT, name=TEXT, body=TEXT)
def test_lines_of_a_mail_are_ascii_short_and_end_alike(subject: str, name: str, body: str) -> None:
    mail = compose(content(subject, body), headers(name=name))
    assert mail.isascii()
    assert b"\n" not in mail.replace(b"\r\n", b"")
    assert b"\r" not in mail.replace(b"\r\n", b"")
    assert max(len(line) for line in mail.split(b"\r\n")) <= 200


def test_address_that_is_not_ascii_stands_as_it_is() -> None:
    mail = compose(content("s", "b"), headers(address="ann@exämple.com"))
    assert "ann@exämple.com".encode() in mail


@pytest.mark.parametrize("address", ["", "ann", "a@b, c@d", "ann@example.com (x)", "a\r\nBcc: b@c@d"])
def test_address_that_is_not_exactly_one_is_refused(address: str) -> None:
    with pytest.raises(BadAddress):
        compose(content("s", "b"), headers(address=address))


def test_same_mail_is_the_same_bytes() -> None:
    assert compose(content("s", "b"), headers()) == compose(content("s", "b"), headers())
    assert {field.name for field in fields(Section)}, "sections are content too"
