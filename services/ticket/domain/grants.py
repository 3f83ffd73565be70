"""What the provisioner reports, applied to a ticket's grants.

Grants only ever move forward, so an old or repeated access fact changes nothing, and a stop is never undone.
"""

from typing import Any, Final

from services.ticket.domain import extensions
from services.ticket.domain.transition import next_version, with_grants, with_latest_credentials
from shared.contracts import access
from shared.contracts.access import is_stop
from shared.contracts.change import Change, Origin
from shared.contracts.ticket import GrantState, Ticket

ORDER: Final = {
    None: 0,
    GrantState.SCHEDULED: 1,
    GrantState.GRANTING: 2,
    GrantState.ACTIVE: 3,
    GrantState.REVOKING: 4,
    GrantState.REVOKED: 5,
    GrantState.RELEASED: 5,
    GrantState.FAILED: 5,
}
"""How far a grant has come; it never goes back, and the last three are final."""


def note_access(ticket: Ticket, fact: access.AccessFact, origin: Origin) -> Change[Ticket]:
    """The ticket after an access fact, without an event: the fact itself is the news.

    Only a later end that was asked for, and has come to nothing by this, is said to be rejected.
    The same ticket when the fact changes nothing: an old or repeated one, or an unknown grant.
    """
    match fact:
        case access.AccessExtended():
            change = extensions.note_extended(ticket, fact)
        case access.AccessExtensionFailed():
            change = extensions.note_failed(ticket, fact)
        case _:
            change = _move(ticket, fact)
            change = change.then(_end_extensions(change.state, fact.grant_id, origin))
    return change


def _move(ticket: Ticket, fact: access.AccessFact) -> Change[Ticket]:
    """The grant moved forward to where the fact says it is."""
    grant, fields = ticket.grant(fact.grant_id), _fields(fact)
    if grant is None or fields is None or ORDER[fields["state"]] <= ORDER[grant.state]:
        return Change(ticket)
    changed = with_grants(ticket, {grant.id}, **fields)
    return Change(next_version(with_latest_credentials(changed)))


def _end_extensions(ticket: Ticket, grant_id: str, origin: Origin) -> Change[Ticket]:
    """What was asked for, where the grant is ending: somebody stopped it, or it is over."""
    grant = ticket.grant(grant_id)
    if grant is None or grant.state in {None, *extensions.EXTENDABLE}:
        return Change(ticket)
    if is_stop(grant.code):
        return extensions.stop(ticket, {grant.id}, origin)
    return extensions.end_with_access(ticket, grant.id, origin, expired=grant.code == access.EndCause.EXPIRED)


def _fields(fact: access.AccessFact) -> dict[str, Any] | None:
    match fact:
        case access.AccessScheduled():
            return {"state": GrantState.SCHEDULED}
        case access.AccessGranting():
            return {"state": GrantState.GRANTING}
        case access.AccessGranted():
            return {
                "state": GrantState.ACTIVE,
                "granted_at": fact.at,
                "already_held": fact.already_held,
                "credentials_until": fact.credentials_until,
            }
        case access.AccessFailed():
            return {
                "state": GrantState.FAILED,
                "code": fact.code,
                "detail": fact.detail,
                "ended_at": fact.at,
                "kept_by": fact.kept_by,
                "credentials_until": fact.credentials_until,
            }
        case access.AccessRevokeDue():
            return {"state": GrantState.REVOKING, "code": fact.cause_of_end}
        case access.AccessRevoked():
            return {
                "state": GrantState.REVOKED,
                "code": fact.cause_of_end,
                "ended_at": fact.at,
                "credentials_until": fact.credentials_until,
            }
        case access.AccessReleased():
            return {
                "state": GrantState.RELEASED,
                "code": fact.cause_of_end,
                "ended_at": fact.at,
                "kept_by": fact.kept_by,
                "credentials_until": fact.credentials_until,
            }
        case _:
            return None
