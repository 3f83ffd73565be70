"""The approver's mail: everything needed to decide, without opening anything. Pure."""

from collections.abc import Mapping
from urllib.parse import quote

from services.notifier.domain.letter import (
    Documents,
    Letter,
    Row,
    Section,
    cut,
    passage,
    row,
    section,
    span,
    utc,
    who,
)
from services.notifier.domain.wording import access_name, credentials_row, subject_of, window_text
from shared.contracts.approval import EarlierRejection, OtherGrant, ReviewStageOpened
from shared.contracts.documents import Account, OrganizationalUnit, PermissionSet, RegisteredAccount
from shared.contracts.people import Person
from shared.contracts.ticket import Target, Ticket

SHOWN = 30
"""Most labels, tags or summary lines in a mail; the page has them all."""


def approval_needed(
    event: ReviewStageOpened, ticket: Ticket | None, documents: Documents, *, public_url: str
) -> Letter:
    """`ticket` is None when its fact never came: then the mail says who waits for what on the page."""
    target = next((one for one in ticket.targets if one.id == event.target_id), None) if ticket else None
    review = quote(event.review_id, safe="")
    return Letter(
        subject=f"[JIT] Approval needed: {subject_of(ticket, fallback=f'request {event.ticket_id}')}",
        headline="Your approval is needed",
        lead=_lead(event, ticket, target),
        sections=_sections(event, ticket, target, documents),
        link=f"{public_url.rstrip('/')}/reviews/{review}",
        link_label="Look at the request and decide",
        tone="action",
        how_to="The link only opens a page; nothing is decided before you say so there. Or decide over the "
        "API, with your own token:",
        commands=(
            f"POST {public_url.rstrip('/')}/v1/reviews/{review}/decisions",
            "Authorization: Bearer <your token>",
            "Content-Type: application/json",
            'If-Match: "<ETag of the review as you read it>"',
            '{"verdict": "approve"} or {"verdict": "reject", "comment": "<why not>"}',
        ),
    )


def _lead(event: ReviewStageOpened, ticket: Ticket | None, target: Target | None) -> str:
    needed = "1 approval" if event.needed == 1 else f"{event.needed} approvals"
    stage = f"This is stage {event.stage} of {event.stages}; it needs {needed}."
    if ticket is None or target is None:
        return f"A request for access waits for your decision; see the page for what it asks. {stage}"
    asked_for = _beneficiaries(ticket, target)
    if [person.user_id for person in asked_for] == [ticket.requester.user_id]:
        whom = "themselves"
    else:
        whom = ", ".join(who(person) for person in asked_for[:3])
        whom += f" and {len(asked_for) - 3} more" if len(asked_for) > 3 else ""
    return f"{who(ticket.requester)} asks for {access_name(target)} for {whom}. {stage}"


def _sections(
    event: ReviewStageOpened, ticket: Ticket | None, target: Target | None, documents: Documents
) -> tuple[Section, ...]:
    weigh = section("To weigh", _weigh(event))
    if ticket is None or target is None:
        return (weigh,)
    return (
        section("Request", _request(ticket, target)),
        section("Account", _account(target, documents)),
        section("Permission set", _set(target, documents)),
        section("Time", _time(ticket, target)),
        weigh,
    )


def _request(ticket: Ticket, target: Target) -> list[Row | None]:
    return [
        row("Asked by", who(ticket.requester)),
        row("For", *(who(person) for person in _beneficiaries(ticket, target))),
        passage("Reason", ticket.reason),
        row("Reference", ticket.reference) if ticket.reference else None,
        row("Asked on", utc(ticket.submitted_at)),
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
        row("It allows", *_at_most(found.summary)) if found else None,
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


def _weigh(event: ReviewStageOpened) -> list[Row | None]:
    """How many, and below some of them."""
    several = len({grant.beneficiary.user_id for grant in event.other_grants_listed}) > 1
    grants = [_grant(grant, named=several) for grant in event.other_grants_listed]
    rejections = [_rejection(one) for one in event.earlier_rejections_listed]
    return [
        row("Other live grants", f"{event.other_grants} of the beneficiaries at this moment", *grants),
        row("Earlier rejections", f"{event.earlier_rejections} of this request", *rejections),
    ]


def _grant(grant: OtherGrant, *, named: bool) -> str:
    whose = f"{who(grant.beneficiary)}: " if named else ""
    account = f"{cut(grant.account_name, 120)} ({grant.account_id})"
    return f"{whose}{grant.set_name} on {account} until {utc(grant.ends_at)}"


def _rejection(one: EarlierRejection) -> str:
    said = " ".join(one.comment.split())
    return f"{utc(one.at)}: {said}" if said else utc(one.at)


def _beneficiaries(ticket: Ticket, target: Target) -> tuple[Person, ...]:
    holders = {grant.beneficiary for grant in ticket.grants if grant.target_id == target.id}
    return tuple(one for one in ticket.beneficiaries if not holders or one.user_id in holders)


def _unit_names(account: Account, documents: Documents) -> list[str]:
    units = [(unit_id, documents.get(OrganizationalUnit, unit_id)) for unit_id in account.ous]
    return [cut(unit.name, 80) if unit else unit_id for unit_id, unit in units]


def _pairs(pairs: Mapping[str, str]) -> tuple[str, ...]:
    return _at_most(tuple(f"{key}={value}" for key, value in sorted(pairs.items())))


def _at_most(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(values) <= SHOWN:
        return values
    return (*values[:SHOWN], f"and {len(values) - SHOWN} more")
