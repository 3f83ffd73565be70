"""Mails as they arrive at a real receiver: headers, threads, equal parts, hostile input that stays inert."""

import unicodedata
from email.utils import parsedate_to_datetime

import pytest
from pydantic import SecretStr

from local.mailbox import Mail
from services.notifier.domain.delivery import Deferred, Refused, thread_id
from services.notifier.email.message import inert
from services.notifier.email.smtp import Mailer, _judge
from shared.contracts import access, stop, ticket
from shared.contracts.documents import Account, PermissionSet, User
from shared.foundation.settings import SmtpSettings
from tests.notifier.facts import (
    REVIEW,
    TARGET,
    TICKET,
    a_ticket,
    access_fact,
    grant,
    person,
    stage_opened,
    target,
    ticket_fact,
)
from tests.notifier.post import Page, Post, words
from tests.support.harness import NOW
from tests.support.organisation import ADMIN, P, user_id

PAGES = "https://pages.example.com/"

HOSTILE = {
    "html": '<script>alert(1)</script><img src="https://evil.example/x.png" onerror=alert(1)>',
    "attribute": '"><a href="https://evil.example/approve">Approve</a>',
    "entity": "&lt;b&gt;&#60;script&#62;",
    "header": "x\r\nBcc: victim@example.com\r\n\r\nNew body",
    "bare newlines": "x\nBcc: victim@example.com\rSubject: y",
    "unicode newlines": "x\u2028Bcc: y\u2029z\x85w\x0bv\x0cu",
    "right to left": "evil\u202egnp.exe\u202c \u2066isolated\u2069 \u200fmark",
    "hidden": "pay\u200bments\ufeff\u00ad\u2060",
    "control": "nul\x00 bell\x07 escape\x1b[31m delete\x7f c1\x9b",
    "template": "{{ 7*7 }}{% raw %}{{ config }}",
    "encoded word": "=?utf-8?q?=0d=0aBcc:_victim@example.com?=",
    "long": "A" * 10_000,
    "long words": "wort " * 2000,
    "dot": ".\r\n.\r\nMAIL FROM:<x>",
}
ALLOWED_TAGS = {
    "html", "head", "meta", "title", "style", "body", "div", "h1", "h2", "p", "table", "tr", "th", "td",
    "bdi", "br", "a",
}  # fmt: skip


def both_parts(mail: Mail) -> tuple[str, Page]:
    assert mail.text is not None
    assert mail.html is not None
    return mail.text, Page(mail.html)


def check_inert(mail: Mail, *, page: str) -> None:
    """Nothing in the mail acts, hides, or points anywhere but to the page."""
    text, html = both_parts(mail)
    assert {tag for tag, _ in html.tags} <= ALLOWED_TAGS
    assert [attrs["href"] for tag, attrs in html.tags if tag == "a"] == [f"https://pages.example.com/{page}"]
    for _, attrs in html.tags:
        assert set(attrs) <= {"lang", "charset", "name", "content", "class", "href", "role", "scope"}
    for part in (text, mail.html or "", mail.header("Subject"), mail.header("To")):
        unsafe = {
            char
            for char in part.replace("\r\n", "").replace("\n", "")
            if unicodedata.category(char)[0] == "C"
        }
        assert unsafe == set()
    assert set(mail.parsed.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "List-Id",
        "Auto-Submitted", "X-Auto-Response-Suppress", "MIME-Version", "Content-Type",
    }  # fmt: skip
    assert words(text) == html.words
    assert max(len(line) for line in mail.raw.split(b"\r\n")) < 998


@pytest.mark.parametrize("nasty", HOSTILE.values(), ids=HOSTILE)
async def test_hostile_text_everywhere_in_the_approvers_mail_is_inert(post: Post, nasty: str) -> None:
    give_hostile_documents(post, nasty)
    ann = person("ann", user_name=nasty, display_name=nasty)
    whole = a_ticket(
        requester=ann.model_copy(update={"user_id": user_id("bob")}),
        beneficiaries=(ann,),
        targets=(target(account_name=nasty, set_name=nasty, reason=nasty),),
        reference=nasty,
    )
    await post.take(ticket_fact(ticket.TicketClosed, whole))
    await post.take(stage_opened(approvers=(person("carl"),)))
    assert len(await post.send_all()) == 1
    (mail,) = post.to("carl")
    assert mail.receipt.recipients == ("carl@example.com",)
    check_inert(mail, page=f"reviews/{REVIEW}")


@pytest.mark.parametrize(
    ("address", "hrefs"),
    [
        ("https://changes.example.com/4711?a=1&b=2", ["https://changes.example.com/4711?a=1&b=2"]),
        ("javascript:alert(1)", []),
        ('https://x.example/"><script>', ['https://x.example/"><script>']),
    ],
)
async def test_link_of_the_requester_is_shown_whole_and_followed_over_https_only(
    post: Post, address: str, hrefs: list[str]
) -> None:
    await post.take(ticket_fact(whole=a_ticket(link=address)))
    await post.take(stage_opened(approvers=(person("carl"),)))
    await post.send_all()
    for who, page in (("carl", f"reviews/{REVIEW}"), ("ann", f"tickets/{TICKET}")):
        (mail,) = post.to(who)
        text, html = both_parts(mail)
        assert [line.split()[-1] for line in text.splitlines() if "Link:" in line] == [address]
        assert words(text) == html.words
        links = [attrs["href"] for tag, attrs in html.tags if tag == "a"]
        assert links == [*hrefs, f"https://pages.example.com/{page}"]
        assert {tag for tag, _ in html.tags} <= ALLOWED_TAGS


@pytest.mark.parametrize("nasty", HOSTILE.values(), ids=HOSTILE)
async def test_hostile_text_in_a_mail_about_several_reviews_is_inert(post: Post, nasty: str) -> None:
    give_hostile_documents(post, nasty)
    whole = a_ticket(
        beneficiaries=(person("ann", display_name=nasty),),
        targets=(
            target(set_name=nasty, reason=nasty),
            target(id="target-2", account_name=nasty, reason=f"another {nasty}"),
        ),
        grants=(grant(), grant(id="grant-2", target_id="target-2")),
    )
    await post.take(ticket_fact(ticket.TicketClosed, whole))
    for review_id, target_id in (("review-1", TARGET), ("review-2", "target-2")):
        await post.take(stage_opened(review_id=review_id, target_id=target_id, approvers=(person("carl"),)))
    assert len(await post.send_gathered()) == 1
    (mail,) = post.to("carl")
    check_inert(mail, page=f"tickets/{TICKET}")


@pytest.mark.parametrize("nasty", HOSTILE.values(), ids=HOSTILE)
async def test_hostile_text_in_a_status_mail_is_inert(post: Post, nasty: str) -> None:
    whole = a_ticket(
        targets=(target(reason=nasty),), beneficiaries=(person("ann", display_name=nasty),), version=2
    )
    await post.take(ticket_fact(whole=whole))
    await post.take(ticket_fact(stop.TicketTerminated, whole, why=nasty))
    await post.take(access_fact(access.AccessFailed, code=nasty, detail=nasty))
    await post.send_all()
    assert len(post.to("ann")) == 3
    for mail in post.to("ann"):
        check_inert(mail, page=f"tickets/{TICKET}")


def give_hostile_documents(post: Post, nasty: str) -> None:
    world = post.context.policy.known()
    carl = world.user(user_id("carl"))
    account, permission_set = world.get(Account, P), world.get(PermissionSet, ADMIN)
    assert isinstance(carl, User)
    assert account is not None
    assert permission_set is not None
    for document, changes in (
        (carl, {"display_name": nasty}),
        (account, {"tags": {nasty: nasty}}),
        (permission_set, {"description": nasty, "summary": (nasty, nasty)}),
    ):
        post.context.policy.take("provisioner", document.model_copy(update={**changes, "revision": 10_000}))


async def test_all_mails_have_equal_parts_and_say_that_no_person_sent_them(post: Post) -> None:
    await post.take(ticket_fact())
    await post.take(stage_opened())
    await post.take(ticket_fact(ticket.TicketClosed, a_ticket(grants=(grant(granted_at=NOW),))))
    for event in (
        access.AccessGranted,
        access.AccessRevoked,
        access.AccessReleased,
        access.AccessRevokeOverdue,
    ):
        await post.take(access_fact(event))
    await post.send_all()
    assert len(post.box.mails()) == 14
    for mail in post.box.mails():
        text, html = both_parts(mail)
        assert words(text) == html.words
        assert mail.header("Auto-Submitted") == "auto-generated"
        assert mail.header("List-Id") == "JIT tickets <tickets.jit>"
        assert mail.header("From") == "JIT <jit@example.com>"
        assert parsedate_to_datetime(mail.header("Date")) == NOW
        assert "UTC" in text
        assert "http" not in text.replace("https://jit.example.com/v1/", "").replace(PAGES, "")


async def test_mails_of_a_ticket_make_one_thread_per_person(post: Post) -> None:
    for cls in (ticket.TicketSubmitted, ticket.TicketApproved, stop.TicketTerminated):
        await post.take(ticket_fact(cls))
    await post.take(access_fact())
    await post.take(ticket_fact(whole=a_ticket(id="another-ticket")))
    await post.send_all()
    root = thread_id(TICKET, domain="jit")
    mails = [mail for mail in post.to("ann") if mail.header("References") == root]
    assert len(mails) == 4
    assert {mail.header("In-Reply-To") for mail in mails} == {root}
    assert {mail.header("Subject") for mail in mails} == {"[JIT] Administrator on prod-payments for Ann"}
    assert len({mail.header("Message-ID") for mail in mails}) == 4
    assert len({mail.thread for mail in post.to("ann")}) == 2


async def test_name_of_the_recipient_is_theirs_and_nobody_elses(post: Post) -> None:
    carl = post.context.policy.known().user(user_id("carl"))
    assert isinstance(carl, User)
    name = '"Carl, Dr." <victim@example.com>, Ünï'
    post.context.policy.take(
        "provisioner", carl.model_copy(update={"display_name": name, "revision": 10_000})
    )
    await post.take(stage_opened(approvers=(person("carl"),)))
    await post.take(ticket_fact(ticket.TicketClosed))
    await post.send_all()
    (mail,) = post.box.mails()
    (to,) = mail.parsed["To"].addresses
    assert (to.display_name, to.addr_spec) == (name, "carl@example.com")
    assert mail.receipt.recipients == ("carl@example.com",)


def test_inert_leaves_honest_text_alone_and_nothing_else() -> None:
    honest = "Ännchen Müller, 田中さん, שלום, naïve café – 3 × 4 ≠ 12 €"
    assert inert(honest) == honest
    for nasty in (*HOSTILE.values(), "lone \ud800 surrogate"):
        assert {unicodedata.category(char) for char in inert(nasty)}.isdisjoint(
            {"Cc", "Cf", "Cs", "Zl", "Zp"}
        )


async def test_mailer_with_a_refused_login_or_sender_defers_instead_of_giving_up(post: Post) -> None:
    await post.take(ticket_fact())
    # Past the check of the settings, which want TLS for a password: the mailbox of the tests has none.
    login = {"username": "jit", "password": SecretStr("wrong")}
    settings = SmtpSettings(port=post.box.port).model_copy(update=login)
    mailer = Mailer(settings, within=post.settings.mail_send_within)
    outcomes = await post.send_all(mailer)
    assert {type(outcome) for outcome in outcomes} == {Deferred}
    assert all(isinstance(outcome, Deferred) and outcome.server for outcome in outcomes)
    tls = Mailer(SmtpSettings(port=post.box.port, tls="starttls"), within=post.settings.mail_send_within)
    post.clock.advance(post.settings.mail_first_delay)
    assert {type(outcome) for outcome in await post.send_all(tls)} == {Deferred}


async def test_mailer_keeps_its_connection_and_makes_a_new_one_after_it_broke(post: Post) -> None:
    await post.take(ticket_fact())
    await post.send_all()
    before = post.mailer._client
    await post.take(ticket_fact(whole=a_ticket(id="second")))
    await post.send_all()
    assert before is not None
    assert post.mailer._client is before
    before.close()
    await post.take(ticket_fact(whole=a_ticket(id="third")))
    await post.send_all()
    assert len(post.box.mails()) == 6


def test_servers_words_are_recorded_whatever_bytes_they_are() -> None:
    outcome = _judge(550, "caf\udce9 \x00 no\r\nsecond line")
    assert outcome == Refused("550 caf? ? no second line", 550)
