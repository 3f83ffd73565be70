"""Wires the ticket service: tickets and timers."""

from functools import partial

from services.ticket import background
from services.ticket.commands.tickets import limits_of
from services.ticket.consumers import subscriptions
from services.ticket.http import tickets
from services.ticket.settings import TicketSettings, load_settings
from services.ticket.store import retention
from services.ticket.store.tickets import SERVICE
from shared.runtime.service import Parts, Process, Service
from shared.runtime.serving import serve


def build(settings: TicketSettings | None = None, *, process: Process | None = None) -> Service:
    settings = settings or load_settings()
    limits = limits_of(settings)
    parts = Parts(
        routers=lambda context: (tickets.router(context, limits),),
        subscriptions=subscriptions,
        retention=retention.rules(keep=settings.keep),
        background=lambda context: [("timers", partial(background.run, context, settings))],
    )
    return Service(SERVICE, settings, parts, process=process)


if __name__ == "__main__":
    serve(build())
