"""Every event class by its type name, complete: whoever reads facts of any kind takes `EVENTS` from here.

A contract module registers its classes as it is imported, so a new one needs its line below.
"""

from shared.contracts import access, approval, configuration, identity, notification, stop, ticket
from shared.contracts.event import EVENTS

__all__ = ["EVENTS", "access", "approval", "configuration", "identity", "notification", "stop", "ticket"]
