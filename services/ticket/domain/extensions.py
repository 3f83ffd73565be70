"""What becomes of a later end that was asked for: decided on, dropped, or carried out by the provisioner.

Nothing lasts longer because of what is decided here: an end has moved when the provisioner says so.
"""

from collections.abc import Collection, Sequence
from typing import Final

from services.ticket.domain.transition import (
    next_version,
    transition,
    with_extension,
    with_grants,
    with_latest_credentials,
)
from shared.contracts import access
from shared.contracts.approval import ExtensionEnd, ReviewApproved, ReviewRejected
from shared.contracts.change import Change, Origin
from shared.contracts.extension import Extension, ExtensionState
from shared.contracts.ticket import GrantState, Ticket, TicketExtensionApproved, TicketExtensionRejected

EXTENDABLE: Final = frozenset({GrantState.SCHEDULED, GrantState.GRANTING, GrantState.ACTIVE})
"""Access that lasts, or is about to: neither ended nor ending."""


def pending(ticket: Ticket) -> tuple[Extension, ...]:
    return tuple(one for one in ticket.extensions if one.state is ExtensionState.PENDING)


def approve(ticket: Ticket, extension: Extension, review: ReviewApproved, origin: Origin) -> Change[Ticket]:
    """The provisioner may move the end; until it says so the end is where it was."""
    changed = with_extension(
        ticket, extension.id, state=ExtensionState.APPROVED, window=review.window, decided_at=review.at
    )
    return transition(
        changed,
        TicketExtensionApproved,
        origin,
        targets=[extension.target_id],
        grants=extension.grants,
        extension_id=extension.id,
        content_hash=review.content_hash,
    )


def reject(ticket: Ticket, extension: Extension, review: ReviewRejected, origin: Origin) -> Change[Ticket]:
    return _end(ticket, extension, ExtensionState.REJECTED, ExtensionEnd(review.code.value), origin)


def time_out(ticket: Ticket, origin: Origin) -> Change[Ticket]:
    """Nobody decided while the access lasted: it ends as planned. The same ticket where it is too early."""
    due = [one for one in pending(ticket) if one.expires_at <= origin.at]
    return _end_all(ticket, due, ExtensionState.TIMED_OUT, ExtensionEnd.TIMED_OUT, origin)


def withdraw(ticket: Ticket, origin: Origin) -> Change[Ticket]:
    """The requester drops whatever later end was not decided on."""
    return _end_all(ticket, pending(ticket), ExtensionState.WITHDRAWN, ExtensionEnd.WITHDRAWN, origin)


def stop(ticket: Ticket, grant_ids: Collection[str], origin: Origin) -> Change[Ticket]:
    """Somebody ended some of the access: no later end of it is decided on any more."""
    concerned = [one for one in pending(ticket) if set(one.grants) & set(grant_ids)]
    return _end_all(ticket, concerned, ExtensionState.WITHDRAWN, ExtensionEnd.STOPPED, origin)


def end_with_access(ticket: Ticket, grant_id: str, origin: Origin, *, expired: bool) -> Change[Ticket]:
    """A grant is over by itself: what was asked for ends once none of its grants lasts."""
    lasting_ids = {grant.id for grant in ticket.grants if grant.state in EXTENDABLE}
    over = [one for one in pending(ticket) if grant_id in one.grants and not lasting_ids & set(one.grants)]
    if expired:
        return _end_all(ticket, over, ExtensionState.TIMED_OUT, ExtensionEnd.TIMED_OUT, origin)
    return _end_all(ticket, over, ExtensionState.WITHDRAWN, ExtensionEnd.STOPPED, origin)


def _end_all(
    ticket: Ticket, extensions: Sequence[Extension], state: ExtensionState, code: ExtensionEnd, origin: Origin
) -> Change[Ticket]:
    change = Change(ticket)
    for extension in extensions:
        change = change.then(_end(change.state, extension, state, code, origin))
    return change


def _end(
    ticket: Ticket, extension: Extension, state: ExtensionState, code: ExtensionEnd, origin: Origin
) -> Change[Ticket]:
    changed = with_extension(ticket, extension.id, state=state, code=code.value, decided_at=origin.at)
    return transition(
        changed,
        TicketExtensionRejected,
        origin,
        targets=[extension.target_id],
        grants=extension.grants,
        extension_id=extension.id,
        code=code,
    )


# what the provisioner reports


def note_extended(ticket: Ticket, fact: access.AccessExtended) -> Change[Ticket]:
    """The end of one grant has moved. An end never moves back, so an old or repeated fact changes nothing."""
    grant, extension = ticket.grant(fact.grant_id), ticket.extension(fact.subject_id)
    changed = ticket
    if grant is not None and (grant.ends_at is None or grant.ends_at < fact.ends_at):
        until = fact.credentials_until if grant.is_live else grant.credentials_until
        changed = with_grants(changed, {grant.id}, ends_at=fact.ends_at, credentials_until=until)
    if extension is not None and extension.state in {ExtensionState.APPROVED, ExtensionState.FAILED}:
        changed = with_extension(changed, extension.id, state=ExtensionState.EXTENDED, code=None)
    if changed is ticket:
        return Change(ticket)
    return Change(next_version(with_latest_credentials(changed)))


def note_failed(ticket: Ticket, fact: access.AccessExtensionFailed) -> Change[Ticket]:
    """One grant ends as before; the extension has failed unless another grant's end moves."""
    extension = ticket.extension(fact.subject_id)
    if extension is None or extension.state is not ExtensionState.APPROVED:
        return Change(ticket)
    changed = with_extension(ticket, extension.id, state=ExtensionState.FAILED, code=fact.code)
    return Change(next_version(changed))
