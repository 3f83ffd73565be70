"""The audit service: `python -m services.audit`. Wiring only."""

from importlib.metadata import PackageNotFoundError, version

from services.audit import commands, consumers, http
from services.audit.domain.mapping import Product
from services.audit.settings import AuditSettings
from services.audit.store import SERVICE
from shared.contracts.event import Event
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.environment import load
from shared.runtime.service import Parts, Process, Service
from shared.runtime.serving import serve


def build(settings: AuditSettings | None = None, *, process: Process | None = None) -> Service:
    settings = settings or load(AuditSettings)
    product = Product(settings.instance, _release(), settings.audit_org_id)

    def record(work: UnitOfWork, event: Event) -> None:
        commands.record(service.context, work, event, product=product)

    service = Service(
        SERVICE,
        settings,
        Parts(
            routers=lambda context: [http.router(context)],
            subscriptions=lambda context: consumers.subscriptions(context, product),
            record=record,
            linger_s=0.2,  # as its consumers: what they kept together is told together
        ),
        process=process,
    )
    return service


def _release() -> str:
    """As in `metadata.product.version`; a checkout that was never installed has none."""
    try:
        return version("jit-access")
    except PackageNotFoundError:
        return "unreleased"


if __name__ == "__main__":
    serve(build())
