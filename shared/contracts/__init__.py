"""All contracts, imported so that `EVENTS` and `DOCUMENTS` are complete for whoever imports one."""

from shared.contracts import (
    access,
    approval,
    configuration,
    documents,
    event,
    notification,
    people,
    ticket,
    witness,
)

__all__ = [
    "access",
    "approval",
    "configuration",
    "documents",
    "event",
    "notification",
    "people",
    "ticket",
    "witness",
]
