"""The facts of a mail and what is known around them, as the content to write. Pure."""

from collections.abc import Sequence
from functools import reduce

from services.notifier.domain.approval_mail import approval_needed
from services.notifier.domain.content import Addresses, Content, Documents
from services.notifier.domain.identity_mail import rebound
from services.notifier.domain.known import merge
from services.notifier.domain.notice import Notice, Template
from services.notifier.domain.status_mail import access_status, ticket_status
from shared.contracts.access import AccessFact
from shared.contracts.approval import ReviewStageOpened
from shared.contracts.identity import IdentityRebound
from shared.contracts.stop import StopFact
from shared.contracts.ticket import Ticket, TicketFact
from shared.foundation.errors import Bug


def compose_content(
    notices: Sequence[Notice], template: Template, documents: Documents, addresses: Addresses
) -> Content:
    """The content of one mail. Its facts are of one kind and one ticket, in the order they happened."""
    events = [notice.event for notice in notices]
    ticket = known_ticket(notices)
    facts = [event for event in events if isinstance(event, TicketFact | StopFact)]
    if facts and ticket is not None:
        return ticket_status(facts, template, ticket, addresses)
    if accesses := [event for event in events if isinstance(event, AccessFact)]:
        return access_status(accesses, template, ticket, documents, addresses)
    if stages := [event for event in events if isinstance(event, ReviewStageOpened)]:
        return approval_needed(stages, ticket, documents, addresses)
    if rebindings := [event for event in events if isinstance(event, IdentityRebound)]:
        return rebound(rebindings[-1], documents, addresses)
    raise Bug(f"no mail is written about {events[0].TYPE}; this is a bug", code="no_content")


def known_ticket(notices: Sequence[Notice]) -> Ticket | None:
    """The ticket as all of the facts together knew it; None when none did."""
    known = [notice.known for notice in notices if notice.known is not None]
    return reduce(merge, known).ticket if known else None
