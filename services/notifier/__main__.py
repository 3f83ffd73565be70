"""The notifier: tells people what became of a ticket, by mail, once each."""

import asyncio
from functools import partial

from services.notifier import consumers, http
from services.notifier.commands.rounds import look_around_for_ever, send_for_ever
from services.notifier.settings import NotifierSettings, load_settings
from shared.context import Context
from shared.runtime.service import Parts, Process, Service, Task, serve


def build(settings: NotifierSettings | None = None, *, process: Process | None = None) -> Service:
    settings = settings or load_settings()
    nudge = asyncio.Event()

    def background(context: Context) -> list[Task]:
        senders: list[Task] = [
            (f"sender-{number}", partial(send_for_ever, context, settings, nudge))
            for number in range(1, settings.mail_workers + 1)
        ]
        return [*senders, ("look-around", partial(look_around_for_ever, context, settings, nudge))]

    parts = Parts(
        routers=lambda context: [http.router(context, settings, nudge)],
        subscriptions=lambda context: consumers.subscriptions(context, settings, nudge),
        background=background,
    )
    return Service("notifier", settings, parts, process=process)


if __name__ == "__main__":
    serve(build())
