"""What mails say: one fact or several of a kind, with pages and without."""

from datetime import timedelta

import pytest

from services.notifier.domain.composition import compose_content
from services.notifier.domain.content import (
    LINE,
    PASSAGE,
    SHOWN,
    Addresses,
    Content,
    cut,
    passage,
    row,
    span,
    utc,
)
from services.notifier.domain.notice import (
    Template,
    mailing_of,
)
from services.notifier.domain.sentences import NEVER_GRANTED, WORDS
from services.notifier.domain.wording import subject_of, window_text
from shared.configuration.kinds.sensitive_mark import SensitiveMark
from shared.contracts import access, approval, stop, ticket
from shared.contracts.event import Event
from shared.contracts.windows import Window, WindowAsked
from shared.foundation.clock import ManualClock
from shared.policy.snapshot import Snapshot
from tests.notifier.facts import (
    GRANT,
    HOUR,
    OF_TICKETS,
    REVIEW,
    TARGET,
    TICKET,
    TWO,
    a_ticket,
    access_fact,
    fact_of_table,
    grant,
    notice,
    person,
    second_target,
    stage_opened,
    target,
    ticket_fact,
    wide_ticket,
)
from tests.support.harness import NOW, ready_tables
from tests.support.organisation import ADMIN, P

PAGES = Addresses("https://jit.example.com/", "https://pages.example.com/")
NO_PAGES = Addresses("https://jit.example.com/")


@pytest.fixture(scope="module")
def world() -> Snapshot:
    return ready_tables(ManualClock(NOW)).policy.snapshot()


def content(
    event: Event,
    world: Snapshot,
    known: ticket.Ticket | None = None,
    *more: Event,
    addresses: Addresses = PAGES,
) -> Content:
    """The content of a mail about one fact, or several of its kind."""
    mailing = mailing_of(event, known)
    assert mailing is not None
    notices = [notice(one, known, number) for number, one in enumerate((event, *more))]
    return compose_content(notices, mailing.template, world, addresses)


def values(one: Content) -> dict[str, tuple[str, ...]]:
    """Values by label, and by section where several have one."""
    return {
        f"{section.title}/{entry.label}" if entry.label == "Name" else entry.label: entry.lines
        for section in one.sections
        for entry in section.rows
    }


def test_every_template_has_words() -> None:
    assert set(WORDS) == set(Template) - {Template.APPROVAL_NEEDED, Template.REBOUND}


@pytest.mark.parametrize("event", OF_TICKETS)
@pytest.mark.parametrize("known", [True, False])
def test_content_of_every_fact_names_the_access_and_links_the_page(
    event: type[Event], known: bool, world: Snapshot
) -> None:
    fact = fact_of_table(event)
    one = content(fact, world, a_ticket() if known else None)
    page = f"reviews/{REVIEW}" if isinstance(fact, approval.ReviewFact) else f"tickets/{TICKET}"
    assert one.link == f"https://pages.example.com/{page}"
    if known or not isinstance(fact, approval.ReviewFact):
        everything = f"{one.lead} {[entry.lines for part in one.sections for entry in part.rows]}"
        assert "Administrator on prod-payments" in everything
        assert "Ann (ann)" in everything


def test_mails_of_a_ticket_to_its_people_have_one_subject(world: Snapshot) -> None:
    subjects = {
        content(fact_of_table(event), world, a_ticket()).subject
        for event in OF_TICKETS
        if event is not type(stage_opened())
    }
    assert subjects == {"[JIT] Administrator on prod-payments for Ann"}


def test_approvers_mail_shows_what_is_to_be_considered(world: Snapshot) -> None:
    one = content(stage_opened(), world, a_ticket())
    assert one.subject == "[JIT] Approval needed: Administrator on prod-payments for Ann"
    assert one.lead == (
        "Bob (bob) asks for Administrator on prod-payments (111111111111) for Ann (ann). "
        "This is stage 1 of 2; it needs 1 approval."
    )
    assert values(one) == {
        "Asked by": ("Bob (bob)",),
        "For": ("Ann (ann)",),
        "Reason": ("Investigate the failing payments of this morning",),
        "Reference": ("CHG-4711",),
        "Asked on": ("Mon 2 Mar 2026, 09:00 UTC",),
        "Ticket": (TICKET,),
        "Review": (REVIEW,),
        "Account/Name": ("prod-payments (111111111111)",),
        "Unit": ("Root / prod",),
        "Tags": ("env=prod",),
        "Permission set/Name": ("Administrator",),
        "It allows": ("Administrator policy",),
        "Session": ("1 h at most",),
        "Window": ("Mon 2 Mar 2026, 10:00 UTC to Mon 2 Mar 2026, 11:00 UTC (1 h)",),
        "Credentials until": ("Mon 2 Mar 2026, 12:00 UTC at the latest",),
        "Decide until": ("Mon 2 Mar 2026, 11:00 UTC",),
        "Other live grants": ("3 of the beneficiaries at this moment",),
        "Earlier rejections": ("2 of this request",),
    }
    assert one.commands[:2] == (
        f"GET https://jit.example.com/v1/reviews/{REVIEW}",
        f"POST https://jit.example.com/v1/reviews/{REVIEW}/decisions",
    )


def test_approvers_mail_names_what_there_is_to_consider(world: Snapshot) -> None:
    live = approval.OtherGrant(
        beneficiary=person("ann"), account_id="222222222222", account_name="dev-web", set_name="ReadOnly",
        ends_at=NOW,
    )  # fmt: skip
    rejected = (
        approval.EarlierRejection(at=NOW, comment="use the\nread role"),
        approval.EarlierRejection(at=NOW),
    )
    said = values(
        content(
            stage_opened(other_grants_listed=(live,), earlier_rejections_listed=rejected), world, a_ticket()
        )
    )
    assert said["Other live grants"][1:] == (
        "ReadOnly on dev-web (222222222222) until Mon 2 Mar 2026, 09:00 UTC",
    )
    assert said["Earlier rejections"][1:] == (
        "Mon 2 Mar 2026, 09:00 UTC: use the read role", "Mon 2 Mar 2026, 09:00 UTC",
    )  # fmt: skip
    both = (live, live.model_copy(update={"beneficiary": person("bob")}))
    said = values(content(stage_opened(other_grants_listed=both), world, a_ticket()))
    assert said["Other live grants"][2] == (
        "Bob (bob): ReadOnly on dev-web (222222222222) until Mon 2 Mar 2026, 09:00 UTC"
    )


def test_approvers_mail_for_oneself_says_so(world: Snapshot) -> None:
    one = content(stage_opened(), world, a_ticket(requester=person("ann")))
    assert one.lead.startswith(
        "Ann (ann) asks for Administrator on prod-payments (111111111111) for themselves."
    )


def test_approvers_mail_warns_of_a_set_that_was_changed(world: Snapshot) -> None:
    one = content(stage_opened(), world, a_ticket(targets=(target(set_digest="another"),)))
    assert "will not be granted" in values(one)["Attention"][0]


def test_granted_mail_says_until_when_credentials_live_and_what_is_not_ours(world: Snapshot) -> None:
    one = content(access_fact(already_held=True), world, a_ticket())
    assert values(one)["Ends"] == ("Mon 2 Mar 2026, 11:00 UTC",)
    assert values(one)["Credentials until"] == ("Mon 2 Mar 2026, 12:00 UTC at the latest",)
    assert "stays when this ticket ends" in values(one)["Note"][0]


@pytest.mark.parametrize("live", [True, False])
def test_revoked_mail_tells_of_living_credentials_only_while_they_live(live: bool, world: Snapshot) -> None:
    at = NOW if live else NOW + 3 * HOUR
    one = content(access_fact(access.AccessRevoked, at=at), world, a_ticket())
    assert ("Note" in values(one)) is live


def test_revoked_mail_names_the_groups_that_still_give_the_access(world: Snapshot) -> None:
    one = content(access_fact(access.AccessRevoked, also_through=("g-dev", "g-ops")), world, a_ticket())
    assert values(one)["Still given by"] == ("group g-dev", "group g-ops")
    assert "Still given by" not in values(content(access_fact(access.AccessRevoked), world, a_ticket()))


def test_released_mail_says_what_keeps_the_access(world: Snapshot) -> None:
    one = content(access_fact(access.AccessReleased, kept_by=("not_ours", "g9")), world, a_ticket())
    assert values(one)["Kept by"] == ("an assignment that is not JIT's", "another ticket's grant g9")


def test_failed_mail_names_the_cause(world: Snapshot) -> None:
    one = content(access_fact(access.AccessFailed), world, a_ticket())
    assert (values(one)["Cause"], values(one)["Detail"]) == (("no witness",), ("approval never said so",))


@pytest.mark.parametrize(
    ("code", "begins"),
    [
        ("expired", "The window ended before the access below could be given."),
        ("terminated", "The access below was stopped before it was given."),
        ("returned", "The access below was given back before it was given."),
        ("withdrawn", "The request was withdrawn before the access below was given."),
        ("revoked_by_operator", "An operator stopped the access below before it was given."),
        ("aws_denied", "The access below was not granted."),
    ],
)
def test_failed_mail_says_how_it_ended_and_never_that_it_was_taken_away(
    code: str, begins: str, world: Snapshot
) -> None:
    one = content(access_fact(access.AccessFailed, code=code), world, a_ticket())
    assert one.headline == "Access not granted"
    assert one.lead == f"{begins} AWS gives none through this ticket."
    assert not {"Note", "Kept by"} & set(values(one))
    text = " ".join([one.lead, *(line for lines in values(one).values() for line in lines)])
    assert "taken away" not in text
    assert "redentials" not in text


def test_failed_mail_has_words_for_every_cause_of_an_end() -> None:
    assert set(NEVER_GRANTED) == set(access.EndCause) - {access.EndCause.FAILED}


def test_failed_mail_says_what_gives_the_access_all_the_same(world: Snapshot) -> None:
    fact = access_fact(access.AccessFailed, code="returned", kept_by=("not_ours", "g9"))
    one = content(fact, world, a_ticket())
    assert one.lead.endswith("The same access goes on by what is named below.")
    assert values(one)["Kept by"] == ("an assignment that is not JIT's", "another ticket's grant g9")


def test_failed_mail_tells_of_credentials_of_what_appeared_after_its_end(world: Snapshot) -> None:
    fact = access_fact(access.AccessFailed, code="expired", credentials_until=NOW + HOUR)
    assert (
        "may still work, until Mon 2 Mar 2026, 10:00" in values(content(fact, world, a_ticket()))["Note"][0]
    )


@pytest.mark.parametrize("cls", [stop.TicketTerminated, stop.TicketReturned])
@pytest.mark.parametrize("granted", [True, False])
def test_stopped_mail_says_that_access_is_taken_away_only_if_there_is_some(
    cls: type[ticket.TicketFact], granted: bool, world: Snapshot
) -> None:
    other = grant(id="grant-2", granted_at=NOW)
    whole = a_ticket(grants=(grant(granted_at=NOW if granted else None), other))
    one = content(ticket_fact(cls, whole, grant_ids=(GRANT,)), world)
    assert ("taken away" in one.lead) is granted
    assert "Another mail follows" in one.lead


def test_failed_mail_about_several_with_different_causes_names_each(world: Snapshot) -> None:
    events = [
        access_fact(access.AccessFailed, grant_id=f"g{n}", target_id=f"t{n}", detail="", **fields)
        for n, fields in enumerate(({"code": "expired"}, {"code": "returned", "kept_by": ("not_ours",)}), 1)
    ]
    one = content(events[0], world, wide_ticket(2), events[1])
    assert one.lead == (
        "The access below was not granted. "
        "Where something is named that keeps it, the same access goes on by that."
    )
    names = ("Administrator on account-1 (000000000001)", "Administrator on account-2 (000000000002)")
    assert values(one)["To"] == (
        f"{names[0]} (Cause: its window ended)",
        f"{names[1]} (Cause: given back; Kept by: an assignment that is not JIT's)",
    )


def test_terminated_mail_says_who_and_why(world: Snapshot) -> None:
    one = content(ticket_fact(stop.TicketTerminated, why="no longer needed"), world)
    assert (values(one)["By"], values(one)["Why"]) == (("bob",), ("no longer needed",))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (WindowAsked(duration=2 * HOUR), "2 h, from approval"),
        (WindowAsked(ends_at=NOW), "from approval until Mon 2 Mar 2026, 09:00 UTC"),
    ],
)
def test_window_with_open_start_is_said_to_begin_with_approval(asked: WindowAsked, expected: str) -> None:
    assert window_text(target(asked=asked)) == expected


def test_window_as_approved_comes_before_what_was_asked() -> None:
    approved = target(id=TARGET, window=Window(starts_at=NOW, ends_at=NOW + HOUR))
    assert window_text(approved).startswith("Mon 2 Mar 2026, 09:00 UTC to")


def test_mail_about_several_grants_lists_them_and_says_once_what_they_share(world: Snapshot) -> None:
    events = [access_fact(grant_id=f"g{n}", target_id=f"t{n}") for n in (1, 2, 3)]
    later = access_fact(grant_id="g4", target_id="t4", ends_at=NOW + 3 * HOUR)
    shown = values(content(events[0], world, wide_ticket(4), *events[1:], later))
    assert shown["To"] == (
        *(f"Administrator on account-{n} ({n:012}) (Ends: Mon 2 Mar 2026, 11:00 UTC)" for n in (1, 2, 3)),
        "Administrator on account-4 (000000000004) (Ends: Mon 2 Mar 2026, 12:00 UTC)",
    )
    assert shown["For"] == ("Ann (ann)",)
    assert shown["Credentials until"] == ("Mon 2 Mar 2026, 12:00 UTC at the latest",)
    assert "Ends" not in shown


def test_mail_about_a_grant_mailed_about_twice_says_the_latest(world: Snapshot) -> None:
    late = [
        access_fact(access.AccessRevokeOverdue, overdue_by=timedelta(minutes=minutes)) for minutes in (7, 9)
    ]
    assert values(content(late[0], world, a_ticket(), late[1]))["Late by"] == ("9 min",)


def test_mail_about_several_approvals_shows_the_windows_of_all(world: Snapshot) -> None:
    window = Window(starts_at=NOW, ends_at=NOW + HOUR)
    born = wide_ticket(2)
    approved = tuple(one.model_copy(update={"window": window}) for one in born.targets)
    first = born.model_copy(update={"version": 2, "targets": (approved[0], born.targets[1])})
    second = born.model_copy(update={"version": 3, "targets": approved})
    events = [
        ticket_fact(ticket.TicketApproved, whole, target_ids=(target_id,))
        for whole, target_id in ((second, "t2"), (first, "t1"))
    ]
    shown = values(content(events[0], world, None, events[1]))
    assert shown["Window"] == ("Mon 2 Mar 2026, 09:00 UTC to Mon 2 Mar 2026, 10:00 UTC (1 h)",)
    assert len(shown["To"]) == 2


def test_mail_about_two_holders_of_one_target_names_both(world: Snapshot) -> None:
    events = [
        ticket_fact(stop.TicketReturned, TWO, grant_ids=(one,), why=why)
        for one, why in ((GRANT, "done"), ("grant-3", "not needed"))
    ]
    shown = values(content(events[0], world, None, events[1]))
    name = "Administrator on prod-payments (111111111111)"
    assert shown["To"] == (
        f"{name} (For: Ann (ann); Why: done)",
        f"{name} (For: Eve (eve); Why: not needed)",
    )
    assert shown["By"] == ("bob",)


def test_approvers_mail_about_several_reviews_lists_each_with_its_id(world: Snapshot) -> None:
    stages = [stage_opened(review_id=f"review-{n}", target_id=f"t{n}") for n in range(1, 48)]
    one = content(stages[0], world, wide_ticket(47), *stages[1:])
    assert one.lead == (
        "Bob (bob) asks for access to 47 targets for Ann (ann). "
        "Each of them has a review of its own, listed below."
    )
    shown = values(one)
    assert shown["Access"] == tuple(
        f"Administrator on account-{n} ({n:012}) (Review: review-{n})" for n in range(1, 48)
    )
    assert shown["Stage"] == ("1 of 2, needs 1",)
    assert shown["Administrator"] == ("Administrator policy",)
    assert shown["Reason"] == ("Investigate the failing payments of this morning",)
    assert shown["Other live grants"] == ("3 of the beneficiaries at this moment",)
    assert one.commands[0] == "GET https://jit.example.com/v1/reviews/<review>"
    assert one.link == f"https://pages.example.com/tickets/{TICKET}"


def test_mail_lists_so_many_and_counts_the_rest(world: Snapshot) -> None:
    many = SHOWN + 12
    shown = values(content(ticket_fact(whole=wide_ticket(many)), world))
    assert len(shown["To"]) == SHOWN + 1
    assert shown["To"][-1] == "and 12 more"
    stages = [stage_opened(review_id=f"review-{n}", target_id=f"t{n}") for n in range(1, many + 1)]
    shown = values(content(stages[0], world, wide_ticket(many), *stages[1:]))
    assert shown["Access"][-1] == "and 12 more"


@pytest.mark.parametrize("event", OF_TICKETS)
@pytest.mark.parametrize("known", [True, False])
def test_mail_without_pages_has_no_link_and_names_the_way_through_the_api(
    event: type[Event], known: bool, world: Snapshot
) -> None:
    fact = fact_of_table(event)
    one = content(fact, world, a_ticket() if known else None, addresses=NO_PAGES)
    route = f"reviews/{REVIEW}" if isinstance(fact, approval.ReviewFact) else f"tickets/{TICKET}"
    assert (one.link, one.link_label) == ("", "")
    assert one.commands[0] == f"GET https://jit.example.com/v1/{route}"
    assert "link" not in one.how_to
    named = values(one)["Review" if isinstance(fact, approval.ReviewFact) else "Ticket"]
    assert named == (route.partition("/")[2],)


def test_subject_of_a_large_ticket_counts_the_rest() -> None:
    whole = a_ticket(
        targets=(target(), second_target()), beneficiaries=tuple(map(person, ("ann", "eve", "bob")))
    )
    assert subject_of(whole, fallback="") == "Administrator on prod-payments and 1 more for Ann and 2 more"


def test_long_texts_are_cut_and_the_rest_counted() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "abc… (1 more characters)"
    assert len(row("x", "y" * 10_000).lines[0]) < LINE + 40
    assert sum(map(len, passage("x", "y\n" * 10_000).lines)) < PASSAGE + 40


def test_times_and_spans_are_short_and_say_utc() -> None:
    assert utc(NOW + timedelta(seconds=5)) == "Mon 2 Mar 2026, 09:00:05 UTC"
    assert [span(timedelta(seconds=n)) for n in (0, 10, 60, 5400, 90_000)] == [
        "0 s", "10 s", "1 min", "1 h 30 min", "1 d 1 h",
    ]  # fmt: skip


def test_approvers_mail_shows_the_marks_of_account_and_set_with_their_sentences(world: Snapshot) -> None:
    marked = world.replace(
        SensitiveMark(id=P, why="Holds the card numbers"), SensitiveMark(id=ADMIN, why="May do everything")
    )
    shown = values(content(stage_opened(), marked, a_ticket()))
    assert shown["Sensitive account"] == ("Holds the card numbers",)
    assert shown["Sensitive set"] == ("May do everything",)
    others = [stage_opened(review_id=f"review-{number}") for number in range(2)]
    several = content(others[0], marked, a_ticket(), others[1])
    text = str(several.sections)
    assert "Holds the card numbers" in text
    assert "May do everything" in text
