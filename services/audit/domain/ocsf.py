"""The part of OCSF 1.8.0 that JIT speaks: classes, severities, dispositions, and small builders.

Only what several entries of the registry share. It knows no event of ours: services/audit/domain/shapes.py
puts events into these forms.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from ipaddress import ip_address
from typing import Any, Final, TypeAlias

from shared.foundation.clock import EPOCH

VERSION: Final = "1.8.0"

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class OcsfClass:
    """An event class. `takes_actor` says whether `actor` and `src_endpoint` are attributes of it."""

    uid: int
    name: str
    takes_actor: bool = True

    @property
    def category(self) -> int:
        return self.uid // 1000


ENTITY_MANAGEMENT: Final = OcsfClass(3004, "Entity Management")
USER_ACCESS: Final = OcsfClass(3005, "User Access Management")
EMAIL_ACTIVITY: Final = OcsfClass(4009, "Email Activity", takes_actor=False)
API_ACTIVITY: Final = OcsfClass(6003, "API Activity")
APPLICATION_ERROR: Final = OcsfClass(6008, "Application Error", takes_actor=False)

OTHER: Final = 99
"""The activity of what has no number of its own; the name then says what it was."""


class Severity(IntEnum):
    INFORMATIONAL = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5


class Status(IntEnum):
    """Whether the operation worked, not what it decided: a rejection is a success."""

    SUCCESS = 1
    FAILURE = 2


@dataclass(frozen=True)
class Disposition:
    """What was decided (profile security_control)."""

    action_id: int
    action: str
    disposition_id: int
    disposition: str

    def attributes(self) -> Json:
        return {
            "action_id": self.action_id,
            "action": self.action,
            "disposition_id": self.disposition_id,
            "disposition": self.disposition,
        }


APPROVED: Final = Disposition(1, "Allowed", 8, "Approved")
REJECTED: Final = Disposition(2, "Denied", 25, "Rejected")
ACCESS_REVOKED: Final = Disposition(2, "Denied", 24, "Access Revoked")
UNAUTHORIZED: Final = Disposition(2, "Denied", 26, "Unauthorized")


def present(**attributes: Any) -> Json:
    """An object of the attributes that have a value: OCSF leaves out what is not known."""
    return {name: value for name, value in attributes.items() if value is not None}


def milliseconds(moment: datetime | str | None) -> int | None:
    """OCSF's timestamp: milliseconds since 1970, from a time or its ISO 8601 form."""
    if moment is None:
        return None
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return (at - EPOCH) // timedelta(milliseconds=1)


def user(user_id: str, *, name: str | None = None) -> Json:
    return present(uid=user_id, name=name, type_id=1, type="User")


def entity(uid: str, kind: str, *, data: Json | None = None, version: int | None = None) -> Json:
    """A managed entity of a kind that OCSF has no number for."""
    text = None if version is None else str(version)
    return present(uid=uid, type_id=OTHER, type=kind, version=text, data=data or None)


def authorizations(decision: str, rows: Iterable[str]) -> list[Json] | None:
    """The policy rows that decided, one by one; None where none is named."""
    return [{"decision": decision, "policy": {"name": row}} for row in rows] or None


def endpoint(address: str | None, *, otherwise: str) -> Json:
    """Where a call came from. What is no IP address (a test's client, a socket) is a name."""
    try:
        return {"ip": str(ip_address(address or ""))}
    except ValueError:
        return {"name": address or otherwise}
