"""Which fact is news for whom, what becomes of an attempt, and what a letter says."""

from datetime import timedelta

import pytest

from services.notifier.domain import letters
from services.notifier.domain.delivery import (
    Accepted,
    Again,
    Deferred,
    GivenUp,
    Patience,
    Refused,
    Sent,
    State,
    check_retry,
    message_id,
    settle,
    thread_id,
)
from services.notifier.domain.letter import LINE, PASSAGE, Letter, cut, passage, row, span, utc
from services.notifier.domain.news import NEVER_GRANTED, WORDS
from services.notifier.domain.notice import TABLE, Template, notice_of, ticket_id_of
from services.notifier.domain.wording import subject_of, window_text
from shared.contracts import access, approval, ticket
from shared.contracts.event import EVENTS, Event
from shared.foundation.clock import ManualClock
from shared.foundation.errors import Conflict
from shared.policy.world import World
from tests.notifier.facts import (
    GRANT,
    HOUR,
    REVIEW,
    TARGET,
    TICKET,
    a_ticket,
    access_fact,
    grant,
    person,
    second_target,
    stage_opened,
    target,
    ticket_fact,
)
from tests.support.harness import NOW, ready_tables
from tests.support.organisation import user_id

PUBLIC = "https://jit.example.com/"
PATIENCE = Patience(timedelta(seconds=10), timedelta(minutes=15))


def example(event: type[Event]) -> Event:
    """A fact of the table that is news."""
    if issubclass(event, ticket.TicketFact):
        return ticket_fact(event, a_ticket(grants=(grant(granted_at=NOW),)))
    if issubclass(event, access.AccessFact):
        return access_fact(event)
    return stage_opened()


def told(event: Event, known: ticket.Ticket | None = None) -> set[str]:
    notice = notice_of(event, known)
    return {one.user_id.removeprefix("user-") for one in notice.recipients} if notice else set()


@pytest.fixture(scope="module")
def world() -> World:
    return ready_tables(ManualClock(NOW)).world


def letter(event: Event, world: World, known: ticket.Ticket | None = None) -> Letter:
    notice = notice_of(event, known)
    assert notice is not None
    return letters.write(event, notice.template, known, world, public_url=PUBLIC)


def values(one: Letter) -> dict[str, tuple[str, ...]]:
    """Values by label, and by section where several have one."""
    return {
        f"{section.title}/{entry.label}" if entry.label == "Name" else entry.label: entry.lines
        for section in one.sections
        for entry in section.rows
    }


# who is told


def test_table_every_fact_of_the_three_topics_is_mailed_or_known_not_to_be() -> None:
    families = (ticket.TicketFact, access.AccessFact, approval.ReviewFact)
    silent = {kind.TYPE for kind in EVENTS.values() if issubclass(kind, families) and kind not in TABLE}
    assert silent == {
        "access.granting.v1",
        "access.revoke_due.v1",
        "review.opened.v1",
        "review.decided.v1",
        "review.approved.v1",
        "review.rejected.v1",
        "review.timed_out.v1",
        "review.voided.v1",
    }, "a new fact: put it into the table of domain/notice.py, or here if nobody needs a mail about it"


@pytest.mark.parametrize("event", [kind for kind in TABLE if issubclass(kind, ticket.TicketFact)])
def test_notice_of_ticket_fact_goes_to_requester_and_beneficiaries(event: type[ticket.TicketFact]) -> None:
    assert told(example(event)) == {"ann", "bob"}


@pytest.mark.parametrize("event", [kind for kind in TABLE if issubclass(kind, access.AccessFact)])
def test_notice_of_access_fact_goes_to_holder_and_requester(event: type[access.AccessFact]) -> None:
    whole = a_ticket(beneficiaries=(person("ann"), person("eve")))
    assert told(example(event), whole) == {"ann", "bob"}
    assert told(example(event), None) == {"ann"}


def test_notice_of_opened_stage_goes_to_its_approvers_only() -> None:
    assert told(stage_opened(), a_ticket()) == {"carl", "cora"}


def test_notice_for_requester_who_is_beneficiary_is_one() -> None:
    whole = a_ticket(requester=person("ann"))
    notice = notice_of(ticket_fact(whole=whole), whole)
    assert notice is not None
    assert [one.user_id for one in notice.recipients] == [user_id("ann")]


def test_notice_of_one_target_leaves_out_who_has_no_grant_on_it() -> None:
    whole = a_ticket(
        beneficiaries=(person("ann"), person("eve")),
        targets=(target(), second_target()),
        grants=(grant(), grant(id="grant-2", target_id="target-2", beneficiary=user_id("eve"))),
    )
    assert told(ticket_fact(ticket.TicketApproved, whole, target_ids=("target-2",))) == {"bob", "eve"}
    assert told(ticket_fact(ticket.TicketReturned, whole, grant_ids=(GRANT,))) == {"bob", "ann"}
    assert told(ticket_fact(ticket.TicketSubmitted, whole)) == {"bob", "ann", "eve"}


def test_scheduled_access_that_starts_at_once_is_no_news() -> None:
    assert told(access_fact(access.AccessScheduled, starts_at=NOW), a_ticket()) == set()
    assert told(access_fact(access.AccessScheduled, starts_at=NOW + timedelta(seconds=1)), a_ticket())


def test_closed_ticket_that_never_gave_access_is_no_news() -> None:
    assert told(ticket_fact(ticket.TicketClosed, a_ticket())) == set()


def test_ticket_id_of_every_fact_of_the_table_is_the_tickets() -> None:
    assert {ticket_id_of(example(event)) for event in TABLE} == {TICKET}


# what becomes of an attempt


@pytest.mark.parametrize(
    ("outcome", "late", "expected"),
    [
        (Accepted(), timedelta(0), Sent()),
        (Refused("550 no", 550), timedelta(0), GivenUp("550 no", 550)),
        (Deferred("451 x", 451), -timedelta(seconds=1), Again(NOW + timedelta(seconds=9), "451 x", 451)),
        (Deferred("451 x", 451), timedelta(0), GivenUp("given up after 1 attempts; the last: 451 x", 451)),
        (Accepted(), HOUR, Sent()),
    ],
)  # fmt: skip
def test_settle_after_an_attempt(outcome: object, late: timedelta, expected: object) -> None:
    settled = settle(
        outcome,  # type: ignore[arg-type]
        attempt=1, patience=PATIENCE, give_up_at=NOW, now=NOW + late,
    )  # fmt: skip
    assert settled == expected


def test_patience_doubles_up_to_its_limit() -> None:
    pauses = [PATIENCE.after(attempt).total_seconds() for attempt in (1, 2, 3, 7, 8, 1000)]
    assert pauses == [10, 20, 40, 640, 900, 900]


def test_check_retry_of_a_sent_mail_is_refused() -> None:
    check_retry(State.PENDING)
    check_retry(State.FAILED)
    with pytest.raises(Conflict, match="has been sent"):
        check_retry(State.SENT)


def test_message_id_is_stable_and_its_own_per_event_and_recipient() -> None:
    ids = {message_id(event, who, domain="jit.example.com") for event in ("e1", "e2") for who in ("u1", "u2")}
    assert len(ids) == 4
    assert message_id("e1", "u1", domain="jit.example.com") in ids
    assert thread_id("hostile\r\nBcc: x", domain="jit").count("\n") == 0


# what letters say


def test_every_template_has_words() -> None:
    assert set(WORDS) == set(Template) - {Template.APPROVAL_NEEDED}


@pytest.mark.parametrize("event", TABLE)
@pytest.mark.parametrize("known", [True, False])
def test_letter_of_every_fact_names_the_access_and_links_the_page(
    event: type[Event], known: bool, world: World
) -> None:
    fact = example(event)
    one = letter(fact, world, a_ticket() if known else None)
    page = f"reviews/{REVIEW}" if isinstance(fact, approval.ReviewFact) else f"tickets/{TICKET}"
    assert one.link == f"https://jit.example.com/{page}"
    if known or not isinstance(fact, approval.ReviewFact):
        everything = f"{one.lead} {[entry.lines for part in one.sections for entry in part.rows]}"
        assert "Administrator on prod-payments" in everything
        assert "Ann (ann)" in everything


def test_letters_of_a_ticket_to_its_people_have_one_subject(world: World) -> None:
    subjects = {
        letter(example(event), world, a_ticket()).subject
        for event in TABLE
        if event is not type(stage_opened())
    }
    assert subjects == {"[JIT] Administrator on prod-payments for Ann"}


def test_approvers_letter_shows_what_is_to_be_weighed(world: World) -> None:
    one = letter(stage_opened(), world, a_ticket())
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
    assert one.commands[0] == f"POST https://jit.example.com/v1/reviews/{REVIEW}/decisions"


def test_approvers_letter_names_what_else_there_is(world: World) -> None:
    live = approval.OtherGrant(
        beneficiary=person("ann"), account_id="222222222222", account_name="dev-web", set_name="ReadOnly",
        ends_at=NOW,
    )  # fmt: skip
    rejected = (
        approval.EarlierRejection(at=NOW, comment="use the\nread role"),
        approval.EarlierRejection(at=NOW),
    )
    said = values(
        letter(
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
    said = values(letter(stage_opened(other_grants_listed=both), world, a_ticket()))
    assert said["Other live grants"][2] == (
        "Bob (bob): ReadOnly on dev-web (222222222222) until Mon 2 Mar 2026, 09:00 UTC"
    )


def test_approvers_letter_for_oneself_says_so(world: World) -> None:
    one = letter(stage_opened(), world, a_ticket(requester=person("ann")))
    assert one.lead.startswith(
        "Ann (ann) asks for Administrator on prod-payments (111111111111) for themselves."
    )


def test_approvers_letter_warns_of_a_set_that_was_changed(world: World) -> None:
    one = letter(stage_opened(), world, a_ticket(targets=(target(set_digest="another"),)))
    assert "will not be granted" in values(one)["Attention"][0]


def test_granted_letter_says_until_when_credentials_live_and_what_is_not_ours(world: World) -> None:
    one = letter(access_fact(already_held=True), world, a_ticket())
    assert values(one)["Ends"] == ("Mon 2 Mar 2026, 11:00 UTC",)
    assert values(one)["Credentials until"] == ("Mon 2 Mar 2026, 12:00 UTC at the latest",)
    assert "stays when this ticket ends" in values(one)["Note"][0]


@pytest.mark.parametrize("live", [True, False])
def test_revoked_letter_tells_of_living_credentials_only_while_they_live(live: bool, world: World) -> None:
    at = NOW if live else NOW + 3 * HOUR
    one = letter(access_fact(access.AccessRevoked, at=at), world, a_ticket())
    assert ("Note" in values(one)) is live


def test_revoked_letter_names_the_groups_that_still_give_the_access(world: World) -> None:
    one = letter(access_fact(access.AccessRevoked, also_through=("g-dev", "g-ops")), world, a_ticket())
    assert values(one)["Still given by"] == ("group g-dev", "group g-ops")
    assert "Still given by" not in values(letter(access_fact(access.AccessRevoked), world, a_ticket()))


def test_released_letter_says_what_keeps_the_access(world: World) -> None:
    one = letter(access_fact(access.AccessReleased, kept_by=("not_ours", "g9")), world, a_ticket())
    assert values(one)["Kept by"] == ("an assignment that is not JIT's", "another ticket's grant g9")


def test_failed_letter_names_the_cause(world: World) -> None:
    one = letter(access_fact(access.AccessFailed), world, a_ticket())
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
def test_failed_letter_says_how_it_ended_and_never_that_it_was_taken_away(
    code: str, begins: str, world: World
) -> None:
    one = letter(access_fact(access.AccessFailed, code=code), world, a_ticket())
    assert one.headline == "Access not granted"
    assert one.lead == f"{begins} AWS gives none through this ticket."
    assert not {"Note", "Kept by"} & set(values(one))
    text = " ".join([one.lead, *(line for lines in values(one).values() for line in lines)])
    assert "taken away" not in text
    assert "redentials" not in text


def test_failed_letter_has_words_for_every_cause_of_an_end() -> None:
    assert set(NEVER_GRANTED) == set(access.EndCause) - {access.EndCause.FAILED}


def test_failed_letter_says_what_gives_the_access_all_the_same(world: World) -> None:
    fact = access_fact(access.AccessFailed, code="returned", kept_by=("not_ours", "g9"))
    one = letter(fact, world, a_ticket())
    assert one.lead.endswith("The same access goes on by what is named below.")
    assert values(one)["Kept by"] == ("an assignment that is not JIT's", "another ticket's grant g9")


def test_failed_letter_tells_of_credentials_of_what_appeared_after_its_end(world: World) -> None:
    fact = access_fact(access.AccessFailed, code="expired", credentials_until=NOW + HOUR)
    assert "may still work, until Mon 2 Mar 2026, 10:00" in values(letter(fact, world, a_ticket()))["Note"][0]


@pytest.mark.parametrize("cls", [ticket.TicketTerminated, ticket.TicketReturned])
@pytest.mark.parametrize("granted", [True, False])
def test_stopped_letter_says_that_access_is_taken_away_only_if_there_is_some(
    cls: type[ticket.TicketFact], granted: bool, world: World
) -> None:
    other = grant(id="grant-2", granted_at=NOW)
    whole = a_ticket(grants=(grant(granted_at=NOW if granted else None), other))
    one = letter(ticket_fact(cls, whole, grant_ids=(GRANT,)), world)
    assert ("taken away" in one.lead) is granted
    assert "Another mail follows" in one.lead


def test_terminated_letter_says_who_and_why(world: World) -> None:
    one = letter(ticket_fact(ticket.TicketTerminated, why="no longer needed"), world)
    assert (values(one)["By"], values(one)["Why"]) == (("bob",), ("no longer needed",))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (ticket.WindowAsked(duration=2 * HOUR), "2 h, from approval"),
        (ticket.WindowAsked(ends_at=NOW), "from approval until Mon 2 Mar 2026, 09:00 UTC"),
    ],
)
def test_window_with_open_start_is_said_to_begin_with_approval(
    asked: ticket.WindowAsked, expected: str
) -> None:
    assert window_text(a_ticket(asked=asked), target()) == expected


def test_window_as_approved_comes_before_what_was_asked() -> None:
    approved = target(id=TARGET, window=ticket.Window(starts_at=NOW, ends_at=NOW + HOUR))
    assert window_text(a_ticket(), approved).startswith("Mon 2 Mar 2026, 09:00 UTC to")


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
