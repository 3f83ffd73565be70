"""OpenTelemetry: trace context travels through HTTP, the outbox and Kafka whether or not it is exported."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.context import attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind


def configure(*, service: str, endpoint: str | None) -> None:
    """Install the tracer once per process; spans are exported only when an endpoint is set."""
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    provider = TracerProvider(resource=Resource.create({"service.name": f"jit-{service}"}))
    if endpoint:
        global _exported  # noqa: PLW0603 (the tracer is the process's, and so is this)
        _exported = True
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    trace.set_tracer_provider(provider)


_exported = False
"""Whether anybody will see the spans of this process."""


@contextmanager
def continued(name: str, *, carrier: Mapping[str, str], kind: SpanKind) -> Iterator[None]:
    """The carrier's trace goes on in here; with a span of its own where somebody will see it."""
    if _exported:
        with span(name, carrier=carrier, kind=kind):
            yield
        return
    token = attach(propagate.extract(carrier))
    try:
        yield
    finally:
        detach(token)


@contextmanager
def span(
    name: str, *, carrier: Mapping[str, str] | None = None, kind: SpanKind = SpanKind.INTERNAL
) -> Iterator[Span]:
    """A span, as the child of the carrier's trace where one is given."""
    context = propagate.extract(dict(carrier)) if carrier else None
    with trace.get_tracer("jit").start_as_current_span(name, context=context, kind=kind) as current:
        yield current
