"""Mails about a later end and about targets that were asked for again: who gets them and what they say."""

from datetime import timedelta
from typing import Any

import pytest

from services.notifier.background.loops import monitor
from services.notifier.domain.composition import compose_content
from services.notifier.domain.content import Addresses, Content
from services.notifier.domain.notice import mailing_of
from services.notifier.domain.wording import window_text
from shared.contracts import access, stop, ticket
from shared.contracts.approval import ExtensionEnd
from shared.contracts.event import Event
from shared.contracts.windows import Window
from shared.foundation.clock import ManualClock
from shared.policy.snapshot import Snapshot
from tests.notifier.facts import (
    GRANT,
    HOUR,
    REASON,
    REVIEW,
    TARGET,
    TWO,
    a_ticket,
    access_fact,
    extended_ticket,
    extension_stage,
    grant,
    notice,
    person,
    second_target,
    stage_opened,
    target,
    ticket_fact,
)
from tests.notifier.post import Post
from tests.support.harness import NOW, ready_tables
from tests.support.organisation import user_id

ELEVEN, NOON = "Mon 2 Mar 2026, 11:00 UTC", "Mon 2 Mar 2026, 12:00 UTC"
ACCESS = "Administrator on prod-payments (111111111111)"
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return ready_tables(ManualClock(NOW)).policy.snapshot()


def content(snapshot: Snapshot, known: ticket.Ticket | None, *events: Event) -> Content:
    mailing = mailing_of(events[0], known)
    assert mailing is not None
    notices = [notice(one, known, number) for number, one in enumerate(events)]
    return compose_content(notices, mailing.template, snapshot, Addresses("https://jit.example.com/"))


def values(one: Content) -> dict[str, tuple[str, ...]]:
    return {entry.label: entry.lines for section in one.sections for entry in section.rows}


def mailed(event: Event, known: ticket.Ticket | None = None) -> set[str]:
    mailing = mailing_of(event, known)
    return {one.user_id.removeprefix("user-") for one in mailing.recipients} if mailing else set()


def rejected(code: str, **fields: Any) -> ticket.TicketFact:
    return ticket_fact(ticket.TicketExtensionRejected, extended_ticket(), code=code, **fields)


# who is mailed


def test_extension_is_mailed_to_who_asks_and_whose_access_it_is_and_to_no_other_holder() -> None:
    grants = (grant(), grant(id="grant-3", beneficiary=user_id("eve")))
    whole = extended_ticket(beneficiaries=(person("ann"), person("eve")), grants=grants)
    asked = whole.extensions[0].model_copy(update={"requested_by": person("dora")})
    whole = whole.model_copy(update={"extensions": (asked,)})
    for cls in (ticket.TicketExtensionRequested, ticket.TicketExtensionRejected):
        assert mailed(ticket_fact(cls, whole)) == {"bob", "dora", "ann"}


def test_extension_that_its_ticket_does_not_hold_is_mailed_to_nobody() -> None:
    assert mailed(ticket_fact(ticket.TicketExtensionRequested, a_ticket())) == set()


@pytest.mark.parametrize("code", ["rejected", "timed_out", "withdrawn", "no_rule", "unapprovable"])
def test_extension_that_is_refused_is_mailed_to_all_of_them(code: str) -> None:
    assert mailed(rejected(code)) == {"ann", "bob"}


def test_extension_that_ended_with_a_stop_is_mailed_to_those_whose_access_goes_on(snapshot: Snapshot) -> None:
    """Ann gave hers back, and reads so; eve's lasts, and will end as planned."""
    ann = grant(state=ticket.GrantState.REVOKING, code="returned")
    eve = grant(id="grant-3", beneficiary=user_id("eve"), state=ticket.GrantState.ACTIVE)
    people = (person("ann"), person("eve"))
    whole = extended_ticket(beneficiaries=people, grants=(ann, eve))
    both = whole.extensions[0].model_copy(update={"grants": (ann.id, eve.id)})
    whole = whole.model_copy(update={"extensions": (both,)})
    stopped = ticket_fact(ticket.TicketExtensionRejected, whole, code=ExtensionEnd.STOPPED)
    assert mailed(stopped) == {"eve"}
    assert "What goes on ends as planned." in content(snapshot, None, stopped).lead
    alone = extended_ticket(grants=(ann,))
    assert mailed(ticket_fact(ticket.TicketExtensionRejected, alone, code=ExtensionEnd.STOPPED)) == set()


# what approvers read


def test_approvers_mail_about_an_extension_says_from_which_end_to_which(snapshot: Snapshot) -> None:
    one = content(snapshot, extended_ticket(), extension_stage())
    assert one.headline == "Your approval of an extension is needed"
    assert one.lead == (
        f"Ann (ann) asks for a later end of {ACCESS} for themselves. "
        f"It would last until {NOON} instead of {ELEVEN}: 2 h in all. "
        "This is stage 1 of 2; it needs 1 approval."
    )
    shown = values(one)
    assert shown["Reason"] == ("The payments need watching",)
    assert (shown["Ends"], shown["Later end"], shown["Decide until"]) == ((ELEVEN,), (NOON,), (ELEVEN,))
    assert shown["In all"] == ("2 h, from the first start on",)
    assert shown["Credentials until"] == ("Mon 2 Mar 2026, 13:00 UTC at the latest",)
    assert "Window" not in shown


def test_approvers_mail_about_a_target_and_an_extension_tells_them_apart(snapshot: Snapshot) -> None:
    targets = (*extended_ticket().targets, second_target(reason="Look at the cards too"))
    whole = extended_ticket(
        targets=targets, grants=(*extended_ticket().grants, grant(id="g2", target_id="target-2"))
    )
    other = stage_opened(review_id="review-2", target_id="target-2")
    one = content(snapshot, whole, extension_stage(), other)
    assert one.headline == "Your approval is needed"
    assert one.lead.startswith("Ann (ann) and 1 more ask for access to 2 targets for Ann (ann). Each of them")
    extension, second = values(one)["Access"]
    assert extension.startswith(f"{ACCESS} (Review: {REVIEW}; Asked by: Ann (ann);")
    assert f"Ends: {ELEVEN}; Later end: {NOON}" in extension
    assert "Reason: The payments need watching" in extension
    assert "Reason: Look at the cards too" in second
    assert "Later end" not in second
    assert values(one)["For"] == ("Ann (ann)",)


def test_approvers_mail_on_a_ticket_that_has_moved_on_says_where_to_look(snapshot: Snapshot) -> None:
    """A later revision is another subject: what its reviewers read must not be said of this one."""
    later = a_ticket(targets=(target(revision=2, subject_id="another", reason="quite another reason"),))
    one = content(snapshot, later, stage_opened())
    assert "the review says what it asks" in one.lead
    assert values(one)["Review"] == (REVIEW,)
    assert "another reason" not in str(one)


# what the others read


def test_requested_mail_says_which_end_is_wanted_by_whom_and_why(snapshot: Snapshot) -> None:
    one = content(snapshot, None, ticket_fact(ticket.TicketExtensionRequested, extended_ticket()))
    assert one.headline == "Extension requested"
    shown = values(one)
    assert (shown["Ends"], shown["Later end"]) == ((ELEVEN,), (f"{NOON}, 2 h in all",))
    assert (shown["Wanted by"], shown["Wanted because"]) == (("Ann (ann)",), ("The payments need watching",))
    assert shown["Reason"] == (REASON,), "of the ticket"


@pytest.mark.parametrize(
    ("code", "begins"),
    [
        ("rejected", "The approvers said no to a later end"),
        ("timed_out", "Nobody decided about a later end"),
        ("withdrawn", "The wish for a later end of the access below was withdrawn"),
        ("no_rule", "There is no later end"),
        ("unapprovable", "There is no later end"),
    ],
)
def test_rejected_mail_says_why_and_that_access_ends_as_planned(
    code: str, begins: str, snapshot: Snapshot
) -> None:
    one = content(snapshot, None, rejected(code, why="not over the weekend"))
    assert one.headline == "Access not extended"
    assert one.lead.startswith(begins)
    assert one.lead.endswith("It ends as planned.")
    assert (values(one)["Why"], values(one)["Ends"]) == (("not over the weekend",), (ELEVEN,))


def test_extended_mail_says_the_new_end_and_the_one_before(snapshot: Snapshot) -> None:
    one = content(snapshot, extended_ticket(), access_fact(access.AccessExtended))
    assert one.headline == "Access extended"
    shown = values(one)
    assert (shown["Ends"], shown["Ended before"]) == ((NOON,), (ELEVEN,))
    assert shown["Credentials until"] == ("Mon 2 Mar 2026, 13:00 UTC at the latest",)


@pytest.mark.parametrize(
    ("code", "lead", "cause"),
    [
        ("no_witness", "was approved, but could not be set. It ends as planned.", "no witness"),
        ("too_late", "was approved when it was over already.", "too late"),
        ("stopped", "was stopped before its later end could be set.", "stopped"),
        ("returned", "was stopped before its later end could be set.", "given back"),
    ],
)
def test_not_extended_mail_says_why_and_when_access_ends(
    code: str, lead: str, cause: str, snapshot: Snapshot
) -> None:
    fact = access_fact(access.AccessExtensionFailed, code=code)
    one = content(snapshot, extended_ticket(), fact)
    assert one.headline == "Access not extended"
    assert one.lead.endswith(lead)
    shown = values(one)
    assert (shown["Cause"], shown["Detail"], shown["Ends"]) == (
        (cause,), ("approval never said so",), (ELEVEN,),
    )  # fmt: skip


def test_not_extended_mail_about_different_causes_gets_the_general_sentence(snapshot: Snapshot) -> None:
    facts = [
        access_fact(access.AccessExtensionFailed, grant_id=grant_id, code=code)
        for grant_id, code in ((GRANT, "too_late"), ("grant-3", "no_witness"))
    ]
    assert content(snapshot, TWO, *facts).lead.endswith("could not be set. It ends as planned.")


def test_revised_mail_has_what_was_asked_for_again(snapshot: Snapshot) -> None:
    again = a_ticket(targets=(target(revision=2, reason="Now with the incident's number"),))
    one = content(snapshot, None, ticket_fact(ticket.TicketRevised, again, target_ids=(TARGET,)))
    assert one.headline == "Request revised"
    shown = values(one)
    assert (shown["To"], shown["Decided until"]) == ((ACCESS,), (ELEVEN,))
    assert shown["Reason"] == ("Now with the incident's number",)


def test_window_after_an_extension_lasts_until_the_later_end(snapshot: Snapshot) -> None:
    approved = target(window=Window(starts_at=NOW, ends_at=NOW + HOUR))
    moved = grant(ends_at=NOW + 3 * HOUR)
    assert window_text(approved, [grant(), moved]).endswith(f"to {NOON} (3 h)")
    stopped = ticket_fact(stop.TicketTerminated, a_ticket(targets=(approved,), grants=(moved,)))
    assert values(content(snapshot, None, stopped))["Window"][0].endswith(f"to {NOON} (3 h)")


# against a real database and receiver


def heads(post: Post, name: str) -> list[str]:
    return [(mail.text or "").splitlines()[0] for mail in post.to(name)]


async def test_stage_of_an_extension_waits_for_the_ticket_that_knows_it(post: Post) -> None:
    """The topics are read apart: the ticket may be known in an older version, which has no such extension."""
    await post.take(ticket_fact())
    await post.take(extension_stage())
    await post.send_gathered()
    assert heads(post, "carl") == []
    await post.take(ticket_fact(ticket.TicketApproved, a_ticket(version=4)))
    await post.send_gathered()
    assert heads(post, "carl") == [], "not this version either"
    await post.take(ticket_fact(ticket.TicketExtensionRequested, extended_ticket()))
    await post.send_gathered()
    assert heads(post, "carl") == ["Your approval of an extension is needed"]
    assert f"until {NOON} instead of {ELEVEN}" in (post.to("carl")[0].text or "")


async def test_stage_whose_version_does_not_come_is_mailed_with_its_id(post: Post) -> None:
    await post.take(ticket_fact())
    await post.take(extension_stage())
    post.clock.advance(post.settings.mail_hold + SECOND)
    await monitor(post.context, post.settings)
    await post.send_gathered()
    assert heads(post, "carl") == ["Your approval of an extension is needed"]
    assert REVIEW in (post.to("carl")[0].text or "")
    await post.take(ticket_fact(ticket.TicketExtensionRequested, extended_ticket()))
    await post.send_gathered()
    assert len(post.to("carl")) == 1


async def test_extension_of_two_holders_makes_one_mail_a_person_and_change(post: Post) -> None:
    both = ("ann", "eve")
    grants = tuple(grant(id=f"of-{name}", beneficiary=user_id(name)) for name in both)
    whole = extended_ticket(beneficiaries=tuple(map(person, both)), grants=grants)
    extension = whole.extensions[0].model_copy(update={"grants": tuple(one.id for one in grants)})
    whole = whole.model_copy(update={"extensions": (extension,)})
    await post.take(ticket_fact(ticket.TicketExtensionRequested, whole))
    await post.take(
        ticket_fact(
            ticket.TicketExtensionApproved, whole.model_copy(update={"version": 6}), content_hash="hash"
        )
    )
    for one in grants:
        await post.take(
            access_fact(access.AccessExtended, grant_id=one.id, user_id=one.beneficiary, at=NOW + SECOND)
        )
    await post.send_gathered()
    for name in ("ann", "eve", "bob"):
        assert heads(post, name) == ["Extension requested", "Access extended"]
    assert (post.to("bob")[1].text or "").count(ACCESS) == 2
    assert "Eve" not in (post.to("ann")[1].text or "")
