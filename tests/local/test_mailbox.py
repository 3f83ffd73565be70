"""The mailbox: real mail in, files kept, hostile content shown but inert."""

import json
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from local.look import HEAD
from local.mailbox import Mailbox, mailbox
from local.mailbox_page import mailbox_app


def mail(number: int = 1, *, to: str = "bob@example.com", html: str | None = None) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "JIT <jit@example.com>"
    message["To"] = to
    message["Subject"] = f"Ännchen bittet um Zugriff, Nr. {number}"
    message["Date"] = "Fri, 02 Jan 2026 09:30:00 +0100"
    message["Message-ID"] = f"<event-{number}@example.com>"
    if number > 1:
        message["References"] = "<event-1@example.com>"
    message.set_content("Grüße aus Köln. Öffnen: https://jit.example.com/t/1?a=1&b=2.")
    if html is not None:
        message.add_alternative(html, subtype="html")
    return message


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Mailbox]:
    async with mailbox(tmp_path) as receiving:
        yield receiving


def client(box: Mailbox) -> httpx2.AsyncClient:
    app = Starlette(routes=[Mount("/mailbox", mailbox_app(box))])
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1/mailbox")


async def send(box: Mailbox, message: EmailMessage, recipients: list[str] | None = None) -> None:
    await aiosmtplib.send(
        message, recipients=recipients, hostname="127.0.0.1", port=box.port, start_tls=False
    )


async def test_mail_with_umlauts_arrives_and_survives_a_restart(box: Mailbox, tmp_path: Path) -> None:
    await send(box, mail(), recipients=["bob@example.com", "blind@example.com"])
    for reading in (box, Mailbox(tmp_path)):
        (kept,) = reading.mails()
        assert kept.receipt.subject == "Ännchen bittet um Zugriff, Nr. 1"
        assert kept.receipt.recipients == ("bob@example.com", "blind@example.com")
        assert (kept.text or "").startswith("Grüße aus Köln.")
        assert kept.date == "2026-01-02T09:30:00+01:00"
    assert len(list((tmp_path / "mail").glob("*.eml"))) == 1


async def test_the_json_answers_by_recipient_and_after_an_id(box: Mailbox) -> None:
    await send(box, mail(1))
    await send(box, mail(2, to="carl@example.com", html="<p>Hallo</p>"))
    async with client(box) as http:
        answer = (await http.get("/api/v1/messages", params={"to": "carl@example.com"})).json()
        (found,) = answer["messages"]
        assert found["message_id"] == "<event-2@example.com>"
        assert found["thread"] == "<event-1@example.com>"
        assert "<p>Hallo</p>" in found["html"]
        assert (await http.get("/api/v1/messages", params={"after": found["id"]})).json() == {"messages": []}
        assert (await http.get("/api/v1/messages", params={"after": "x"})).status_code == 400


async def test_the_list_groups_threads_with_the_newest_first(box: Mailbox) -> None:
    for number in (1, 2):
        await send(box, mail(number))
    other = mail(3)
    del other["References"]
    await send(box, other)
    async with client(box) as http:
        page = (await http.get("/")).text
    assert HEAD in page
    assert page.count("<h2>") == 2
    assert page.index("messages/3") < page.index("messages/2") < page.index("messages/1")
    assert 'href="/mailbox/messages/1"' in page


async def test_hostile_html_and_headers_stay_inert(box: Mailbox) -> None:
    attack = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    hostile = mail(1, to='"<script>alert(2)</script>" <bob@example.com>', html=attack)
    hostile.replace_header("Subject", "</title><script>alert(3)</script>")
    await send(box, hostile)
    async with client(box) as http:
        for page in (await http.get("/"), await http.get("/messages/1")):
            assert "<script>" not in page.text
            assert "script-src" not in page.headers["Content-Security-Policy"]
            assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "<iframe sandbox " in page.text
        assert attack not in page.text
        assert 'href="https://jit.example.com/t/1?a=1&amp;b=2"' in page.text
        framed = await http.get("/messages/1/html")
        assert attack in framed.text
        assert framed.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
        raw = await http.get("/messages/1/raw")
        assert raw.headers["Content-Type"].startswith("text/plain")
        assert raw.headers["X-Content-Type-Options"] == "nosniff"
        assert (await http.get("/messages/9")).status_code == 404


async def test_refusals_by_number_and_by_recipient(box: Mailbox) -> None:
    box.refuse(451, times=1)
    with pytest.raises(aiosmtplib.SMTPDataError) as later:
        await send(box, mail())
    assert later.value.code == 451
    await send(box, mail())
    box.refuse(550, recipient="carl@example.com")
    for _ in range(2):
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
            await send(box, mail(2, to="carl@example.com"))
    box.accept_all()
    await send(box, mail(2, to="carl@example.com"))
    assert len(box.mails()) == 2


async def test_a_cut_after_data_keeps_the_message_and_the_repeat(box: Mailbox) -> None:
    box.cut_after_data()
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await send(box, mail())
    await send(box, mail())
    lines = [json.loads(line) for line in box.log.read_text().splitlines()]
    assert [line["message_id"] for line in lines] == ["<event-1@example.com>"] * 2


async def test_a_kill_while_storing_leaves_a_readable_mailbox(box: Mailbox, tmp_path: Path) -> None:
    await send(box, mail())
    with box.log.open("a") as log:
        log.write('{"id": 2, "received')
    (tmp_path / "mail" / "00000002.eml").write_bytes(b"Subject: never confirmed\r\n\r\n")
    async with mailbox(tmp_path) as restarted:
        assert [kept.receipt.id for kept in restarted.mails()] == [1]
        await send(restarted, mail(2))
    assert [kept.receipt.id for kept in Mailbox(tmp_path).mails()] == [1, 2]
