"""The notifier: mails people what became of a ticket, one mail per change."""

import asyncio
from functools import partial

from services.notifier import consumers, http
from services.notifier.background.loops import run_monitor, run_sender
from services.notifier.settings import NotifierSettings, load_settings
from services.notifier.store import retention
from shared.context import Context
from shared.runtime.service import Parts, Process, Service, Task
from shared.runtime.serving import serve


def build(settings: NotifierSettings | None = None, *, process: Process | None = None) -> Service:
    settings = settings or load_settings()
    nudge = asyncio.Event()

    def background(context: Context) -> list[Task]:
        senders: list[Task] = [
            (f"sender-{number}", partial(run_sender, context, settings, nudge))
            for number in range(1, settings.mail_workers + 1)
        ]
        return [*senders, ("monitor", partial(run_monitor, context, settings))]

    parts = Parts(
        routers=lambda context: [http.router(context, settings)],
        subscriptions=lambda context: consumers.subscriptions(context, settings),
        background=background,
        retention=retention.RULES,
        linger_s=0.2,  # only the audit log reads what became of a mail
    )
    service = Service("notifier", settings, parts, process=process)
    service.context.nudge = nudge.set
    return service


if __name__ == "__main__":
    serve(build())
