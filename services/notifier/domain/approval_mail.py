"""The approver's mail: everything needed to decide, without opening anything. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.notifier.domain.content import (
    AUTHORIZATION,
    Addresses,
    Content,
    Documents,
    Row,
    Section,
    at_most,
    cut,
    passage,
    row,
    section,
    span,
    utc,
    who,
)
from services.notifier.domain.listing import Item, item, list_items
from services.notifier.domain.wording import access_name, credentials_row, subject_of, window_text
from shared.contracts.approval import EarlierRejection, OtherGrant, ReviewStageOpened
from shared.contracts.documents import Account, OrganizationalUnit, PermissionSet, RegisteredAccount
from shared.contracts.people import Person
from shared.contracts.ticket import Target, Ticket

DETAILS = 30
"""Most labels, tags or summary lines of one thing; the API has them all."""
SETS = 10
"""Most permission sets that are described in one mail."""

_REJECT = '{"verdict": "approve"} or {"verdict": "reject", "comment": "<why not>"}'


@dataclass(frozen=True)
class _Review:
    """A stage that waits for the reader, with its target; None when no fact of its ticket ever came."""

    stage: ReviewStageOpened
    target: Target | None

    @property
    def id(self) -> str:
        return self.stage.review_id


def approval_needed(
    stages: Sequence[ReviewStageOpened], ticket: Ticket | None, documents: Documents, addresses: Addresses
) -> Content:
    """About one review, with all there is to know; about several of a ticket, with what differs beside each.

    `ticket` is None when no fact of it ever came: then the mail says where to look.
    """
    newest = {stage.review_id: stage for stage in stages}.values()
    reviews = [_Review(one, ticket.target(one.target_id) if ticket else None) for one in newest]
    page = addresses.page("reviews", reviews[0].id) if len(reviews) == 1 else ""
    page = page or addresses.page("tickets", reviews[0].stage.ticket_id)
    fallback = f"request {reviews[0].stage.ticket_id}"
    return Content(
        subject=f"[JIT] Approval needed: {subject_of(ticket, fallback=fallback)}",
        headline="Your approval is needed",
        lead=_lead(reviews, ticket),
        sections=_sections(reviews, ticket, documents),
        link=page,
        link_label="Look at the request and decide" if page else "",
        tone="action",
        how_to=f"{_LINK_IS_SAFE if page else ''}Decide over the API, with your own token:",
        commands=_commands(reviews, addresses),
    )


_LINK_IS_SAFE = "The link only opens a page; nothing is decided before you say so there. Or: "


def _commands(reviews: Sequence[_Review], addresses: Addresses) -> tuple[str, ...]:
    review = addresses.route("reviews", reviews[0].id if len(reviews) == 1 else "")
    review += "" if len(reviews) == 1 else "<review>"
    return (
        f"GET {review}",
        f"POST {review}/decisions",
        AUTHORIZATION,
        "Content-Type: application/json",
        'If-Match: "<ETag of the review as you read it>"',
        _REJECT,
    )


def _lead(reviews: Sequence[_Review], ticket: Ticket | None) -> str:
    if ticket is None:
        waits = "A request for access waits for your decision; the review says what it asks."
        return f"{waits} {_stage_sentence(reviews)}"
    targets = [review.target for review in reviews if review.target]
    what = access_name(targets[0]) if len(targets) == 1 else f"access to {len(reviews)} targets"
    return f"{who(ticket.requester)} asks for {what} for {_whom(reviews, ticket)}. {_stage_sentence(reviews)}"


def _stage_sentence(reviews: Sequence[_Review]) -> str:
    if len(reviews) > 1:
        return "Each of them has a review of its own, listed below."
    stage = reviews[0].stage
    needed = "1 approval" if stage.needed == 1 else f"{stage.needed} approvals"
    return f"This is stage {stage.stage} of {stage.stages}; it needs {needed}."


def _whom(reviews: Sequence[_Review], ticket: Ticket) -> str:
    asked_for = _beneficiaries(reviews, ticket)
    if [person.user_id for person in asked_for] == [ticket.requester.user_id]:
        return "themselves"
    more = f" and {len(asked_for) - 3} more" if len(asked_for) > 3 else ""
    return ", ".join(who(person) for person in asked_for[:3]) + more


def _sections(reviews: Sequence[_Review], ticket: Ticket | None, documents: Documents) -> tuple[Section, ...]:
    consider = section("To consider", _consider([review.stage for review in reviews]))
    only = reviews[0] if len(reviews) == 1 else None
    if ticket is None or (only is not None and only.target is None):
        return (section("Reviews", list_items("Review", [_unknown(one) for one in reviews])), consider)
    if only is not None and only.target is not None:
        return (
            section("Request", _request(reviews, ticket)),
            section("Account", _account(only.target, documents)),
            section("Permission set", _set(only.target, documents)),
            section("Time", _time(ticket, only.target)),
            consider,
        )
    return (
        section("Request", _request(reviews, ticket)),
        section("To decide", list_items("Access", [_listed(one, ticket, documents) for one in reviews])),
        section("Permission sets", _sets(reviews, documents)),
        section("Time", [row("Decide until", utc(ticket.expires_at))]),
        consider,
    )


def _unknown(review: _Review) -> Item:
    """A review of which no more is known than its own fact says."""
    account = row("Account", review.stage.account_id) if review.stage.account_id else None
    return item(review.id, [account])


def _listed(review: _Review, ticket: Ticket, documents: Documents) -> Item:
    """One of several: which review, and what is particular to it."""
    stage, target = review.stage, review.target
    its_stage = row("Stage", f"{stage.stage} of {stage.stages}, needs {stage.needed}")
    if target is None:
        return item(f"target {stage.target_id}", [row("Review", review.id), its_stage])
    account = [one for one in _account(target, documents) if one and one.label != "Name"]
    attention = [one for one in _set(target, documents) if one and one.label == "Attention"]
    times = [row("Window", window_text(ticket, target)), credentials_row(ticket, target)]
    return item(access_name(target), [row("Review", review.id), its_stage, *account, *attention, *times])


def _sets(reviews: Sequence[_Review], documents: Documents) -> list[Row | None]:
    """Each permission set once, with what it allows."""
    targets = {one.target.set_id: one.target for one in reviews if one.target}
    rows: list[Row | None] = []
    for target in list(targets.values())[:SETS]:
        found = documents.get(PermissionSet, target.set_id)
        allows = (found.description, *at_most(found.summary, DETAILS)) if found else ()
        rows.append(row(cut(target.set_name, 80), *(one for one in allows if one)))
    more = len(targets) - SETS
    rows.append(row("Others", f"{more} more, see the reviews") if more > 0 else None)
    return rows


def _request(reviews: Sequence[_Review], ticket: Ticket) -> list[Row | None]:
    return [
        row("Asked by", who(ticket.requester)),
        row("For", *(who(person) for person in _beneficiaries(reviews, ticket))),
        passage("Reason", ticket.reason),
        row("Reference", ticket.reference) if ticket.reference else None,
        row("Asked on", utc(ticket.submitted_at)),
        row("Ticket", ticket.id),
        row("Review", reviews[0].id) if len(reviews) == 1 else None,
    ]


def _account(target: Target, documents: Documents) -> list[Row | None]:
    account = documents.get(Account, target.account_id)
    registered = documents.get(RegisteredAccount, target.account_id)
    return [
        row("Name", f"{cut(target.account_name, 120)} ({target.account_id})"),
        row("Unit", " / ".join(_unit_names(account, documents))) if account else None,
        row("Labels", *_pairs(registered.labels)) if registered else None,
        row("Tags", *_pairs(account.tags)) if account else None,
    ]


def _set(target: Target, documents: Documents) -> list[Row | None]:
    found = documents.get(PermissionSet, target.set_id)
    return [
        row("Name", target.set_name),
        row("Description", found.description) if found else None,
        row("It allows", *at_most(found.summary, DETAILS)) if found else None,
        row("Session", f"{span(target.session_duration)} at most"),
        row("Attention", _CHANGED) if found and found.digest != target.set_digest else None,
    ]


_CHANGED = (
    "The permission set was changed after it was asked for. What it allows is shown as it is now; "
    "an approval holds for what was asked, and will not be granted."
)


def _time(ticket: Ticket, target: Target) -> list[Row | None]:
    return [
        row("Window", window_text(ticket, target)),
        credentials_row(ticket, target),
        row("Decide until", utc(ticket.expires_at)),
    ]


def _consider(stages: Sequence[ReviewStageOpened]) -> list[Row | None]:
    """How many, and below some of them."""
    live = list(dict.fromkeys(one for stage in stages for one in stage.other_grants_listed))
    named = len({grant.beneficiary.user_id for grant in live}) > 1
    rejected = list(dict.fromkeys(one for stage in stages for one in stage.earlier_rejections_listed))
    others = max(stage.other_grants for stage in stages)
    earlier = sum(stage.earlier_rejections for stage in stages)
    grants = at_most([_grant(grant, named=named) for grant in live], DETAILS)
    rejections = at_most([_rejection(one) for one in rejected], DETAILS)
    return [
        row("Other live grants", f"{others} of the beneficiaries at this moment", *grants),
        row("Earlier rejections", f"{earlier} of this request", *rejections),
    ]


def _grant(grant: OtherGrant, *, named: bool) -> str:
    whose = f"{who(grant.beneficiary)}: " if named else ""
    account = f"{cut(grant.account_name, 120)} ({grant.account_id})"
    return f"{whose}{grant.set_name} on {account} until {utc(grant.ends_at)}"


def _rejection(one: EarlierRejection) -> str:
    said = " ".join(one.comment.split())
    return f"{utc(one.at)}: {said}" if said else utc(one.at)


def _beneficiaries(reviews: Sequence[_Review], ticket: Ticket) -> tuple[Person, ...]:
    """Those who would get one of the accesses."""
    holders = {grant.beneficiary for review in reviews for grant in ticket.grants_of(review.stage.target_id)}
    return tuple(person for person in ticket.beneficiaries if person.user_id in holders)


def _unit_names(account: Account, documents: Documents) -> list[str]:
    units = [(unit_id, documents.get(OrganizationalUnit, unit_id)) for unit_id in account.ous]
    return [cut(unit.name, 80) if unit else unit_id for unit_id, unit in units]


def _pairs(pairs: Mapping[str, str]) -> tuple[str, ...]:
    return at_most([f"{key}={value}" for key, value in sorted(pairs.items())], DETAILS)
