"""How tickets, targets and windows are put into words; used by all mails. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from services.notifier.domain.content import ContentRow, Documents, and_more, cut, link, row, span, utc
from shared.contracts.access import AccessFact
from shared.contracts.description import Description
from shared.contracts.documents import Account, PermissionSet
from shared.contracts.subject import ApprovalSubject
from shared.contracts.ticket import Grant, Target, Ticket
from shared.contracts.windows import WindowAsked


def access_name(target: Target | ApprovalSubject) -> str:
    """`Administrator on prod-payments (111111111111)`."""
    return f"{cut(target.set_name, 80)} on {cut(target.account_name, 80)} ({target.account_id})"


def access_name_of(fact: AccessFact, ticket: Ticket | None, documents: Documents) -> str:
    """The same from an access fact, by ids and inventory where the ticket is not known."""
    for target in ticket.targets if ticket else ():
        if target.id == fact.target_id:
            return access_name(target)
    account = documents.get(Account, fact.account_id)
    permission_set = documents.get(PermissionSet, fact.set_id)
    set_name = cut(permission_set.name, 80) if permission_set else fact.set_id
    return (
        f"{set_name} on {cut(account.name, 80)} ({fact.account_id})"
        if account
        else (f"{set_name} on {fact.account_id}")
    )


def subject_of(ticket: Ticket | None, *, fallback: str) -> str:
    """What a ticket is called in subjects: from its own words, so that it never changes."""
    if ticket is None:
        return cut(fallback, 150)
    accesses = and_more(f"{target.set_name} on {target.account_name}" for target in ticket.targets)
    people = and_more(person.display_name or person.user_name for person in ticket.beneficiaries)
    return cut(f"{accesses} for {people}", 200)


def described(description: Description) -> list[ContentRow]:
    """What the requester said besides the reason, as far as they did."""
    rows = [row("Reference", description.reference)] if description.reference else []
    return [*rows, link("Link", description.link)] if description.link else rows


def window_text(target: Target, grants: Iterable[Grant] = ()) -> str:
    """As approved, until the latest end of the grants where ends have moved; else as asked for."""
    if target.window is None:
        return asked_text(target.asked)
    ends = [grant.ends_at for grant in grants if grant.ends_at is not None]
    return between(target.window.starts_at, max(ends, default=target.window.ends_at))


def asked_text(asked: WindowAsked) -> str:
    ends_at = asked_end(asked)
    if asked.starts_at is not None and ends_at is not None:
        return between(asked.starts_at, ends_at)
    if ends_at is not None:
        return f"from approval until {utc(ends_at)}"
    return f"{span(asked.duration)}, from approval" if asked.duration else "from approval"


def asked_end(asked: WindowAsked) -> datetime | None:
    """The end that was asked for; None where it counts from the approval."""
    if asked.ends_at is not None:
        return asked.ends_at
    if asked.starts_at is not None and asked.duration is not None:
        return asked.starts_at + asked.duration
    return None


def between(starts_at: datetime, ends_at: datetime) -> str:
    return f"{utc(starts_at)} to {utc(ends_at)} ({span(ends_at - starts_at)})"


def credentials_row(session: timedelta, ends_at: datetime | None) -> ContentRow:
    """Until when credentials can work: a session outlives the end by up to its own length."""
    if ends_at is None:
        return row("Credentials until", f"up to {span(session)} after the end")
    return row("Credentials until", f"{utc(ends_at + session)} at the latest")
