"""Wires the approval service: reviews, decisions, and the task that keeps reviews up to date."""

from functools import partial

from services.approval.background import keep_fresh
from services.approval.consumers import subscriptions
from services.approval.http import reviews
from services.approval.settings import ApprovalSettings
from services.approval.store import retention
from shared.foundation.environment import load
from shared.runtime.service import Parts, Process, Service
from shared.runtime.serving import serve


def build(settings: ApprovalSettings | None = None, *, process: Process | None = None) -> Service:
    settings = settings or load(ApprovalSettings)
    parts = Parts(
        routers=lambda context: (reviews.router(context),),
        subscriptions=subscriptions,
        retention=retention.rules(keep=settings.keep),
        background=lambda context: [("refresh", partial(keep_fresh, context, settings))],
    )
    return Service("approval", settings, parts, process=process)


if __name__ == "__main__":
    serve(build())
