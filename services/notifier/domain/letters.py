"""A fact and what is known around it, as the letter to write. Pure."""

from services.notifier.domain.letter import Documents, Letter
from services.notifier.domain.news import access_news, ticket_news
from services.notifier.domain.notice import Template
from services.notifier.domain.request import approval_needed
from shared.contracts.access import AccessFact
from shared.contracts.approval import ReviewStageOpened
from shared.contracts.event import Event
from shared.contracts.ticket import Ticket, TicketFact
from shared.foundation.errors import Bug


def write(
    event: Event, template: Template, ticket: Ticket | None, documents: Documents, *, public_url: str
) -> Letter:
    """The letter about a fact. `ticket` as it was known when the fact came; ticket facts carry their own."""
    if isinstance(event, TicketFact):
        return ticket_news(event, template, public_url=public_url)
    if isinstance(event, AccessFact):
        return access_news(event, template, ticket, documents, public_url=public_url)
    if isinstance(event, ReviewStageOpened):
        return approval_needed(event, ticket, documents, public_url=public_url)
    raise Bug(f"no letter is written about {event.TYPE}; this is a bug", code="no_letter")
