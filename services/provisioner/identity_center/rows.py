"""AWS's rows made into our documents. Pure; `reads` fetches the rows.

Order is normalised wherever AWS promises none, so that an unchanged thing always makes an equal document.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from pydantic import TypeAdapter

from shared.contracts import documents as doc
from shared.messaging.outbox import canonical_json

_DURATION: Final = TypeAdapter(timedelta)
_LINE_LIMIT = 200
Row = Mapping[str, Any]


def account(row: Row) -> doc.Account:
    """Without what other calls tell: tags, and whose account it is. No `ous` where AWS gave no path."""
    paths = row.get("Paths", ())
    return doc.Account(
        id=row["Id"],
        name=row.get("Name", row["Id"]),
        state=state(row),
        ous=tuple(part for part in (paths[0] if paths else "").split("/") if part.startswith(("r-", "ou-"))),
    )


def state(row: Row) -> str:
    """AWS's newer word where it gives one: the older `Status` is retired in September 2026."""
    return str(row.get("State") or row["Status"])


def tags(rows: Iterable[Row]) -> dict[str, str]:
    return {row["Key"]: row["Value"] for row in sorted(rows, key=lambda row: str(row["Key"]))}


def user(row: Row) -> doc.User:
    return doc.User(
        id=row["UserId"],
        user_name=row["UserName"],
        display_name=row.get("DisplayName", ""),
        email=_email(row.get("Emails", ())),
        enabled=enabled(row),
        external_ids=tuple(
            doc.ExternalId(issuer=found["Issuer"], id=found["Id"])
            for found in sorted(row.get("ExternalIds", ()), key=lambda found: (found["Issuer"], found["Id"]))
        ),
    )


def enabled(row: Row) -> bool:
    """AWS leaves the status out for users it never disabled."""
    return row.get("UserStatus") != "DISABLED"


def _email(rows: Sequence[Row]) -> str | None:
    """The primary address; the only one where none is marked; never a guess among several."""
    primary = [row for row in rows if row.get("Primary")] or (rows if len(rows) == 1 else ())
    return primary[0].get("Value") if len(primary) == 1 else None


def group(row: Row) -> doc.Group:
    """Without its members."""
    return doc.Group(id=row["GroupId"], name=row.get("DisplayName", row["GroupId"]))


@dataclass(frozen=True, slots=True)
class SetParts:
    """Everything AWS says about a permission set, from its six calls."""

    described: Row
    inline: str
    managed: Sequence[Row]
    customer: Sequence[Row]
    boundary: Row | None
    tags: Sequence[Row]


def permission_set(parts: SetParts) -> doc.PermissionSet:
    arn = parts.described["PermissionSetArn"]
    return doc.PermissionSet(
        id=arn.rsplit("/", 1)[-1],
        arn=arn,
        name=parts.described["Name"],
        description=parts.described.get("Description", ""),
        session_duration=_session_duration(parts.described),
        digest=_digest(parts),
        summary=_summary(parts),
        tags=tags(parts.tags),
    )


def _session_duration(described: Row) -> timedelta:
    return _DURATION.validate_python(described.get("SessionDuration", "PT1H"))


def _digest(parts: SetParts) -> str:
    """Over what decides what the set allows; name, description, tags and relay state do not."""
    content = {
        "session_s": int(_session_duration(parts.described).total_seconds()),
        "inline": _parsed(parts.inline),
        "managed": sorted(row["Arn"] for row in parts.managed),
        "customer": sorted(_customer_name(row) for row in parts.customer),
        "boundary": parts.boundary,
    }
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def _parsed(policy: str) -> Any:
    """A policy as JSON, so that blanks and the order of keys do not count; as text where it is none."""
    try:
        return json.loads(policy) if policy else None
    except ValueError:
        return policy


def _customer_name(row: Row) -> str:
    return f"{row.get('Path', '/')}{row['Name']}"


def _summary(parts: SetParts) -> tuple[str, ...]:
    """What it allows, a line each, for people who decide."""
    lines = [row.get("Name", row["Arn"]) for row in sorted(parts.managed, key=lambda row: str(row["Arn"]))]
    lines += [f"customer policy {name}" for name in sorted(map(_customer_name, parts.customer))]
    lines += [f"inline: {_statement(found)}" for found in _statements(parts.inline)]
    if parts.boundary:
        found = parts.boundary
        name = found.get("ManagedPolicyArn") or _customer_name(found["CustomerManagedPolicyReference"])
        lines.append(f"at most {name.rsplit('/', 1)[-1]} (boundary)")
    return tuple(lines)


def _statements(policy: str) -> list[Any]:
    parsed = _parsed(policy)
    if not isinstance(parsed, dict):
        return [parsed] if parsed else []
    found = parsed.get("Statement", [])
    return found if isinstance(found, list) else [found]


def _statement(found: Any) -> str:
    """One statement as a line, with what it leaves out said: `Allow sqs:* on *`."""
    if not isinstance(found, dict):
        return _short(str(found))
    actions = (
        _listed(found["NotAction"], "all but ") if "NotAction" in found else _listed(found.get("Action"))
    )
    where = (
        _listed(found["NotResource"], "all but ")
        if "NotResource" in found
        else _listed(found.get("Resource"))
    )
    condition = " under conditions" if found.get("Condition") else ""
    return _short(f"{found.get('Effect', 'Allow')} {actions} on {where}") + condition


def _listed(value: Any, prefix: str = "") -> str:
    values = value if isinstance(value, list) else [value]
    return prefix + ", ".join(str(one) for one in values if one is not None)


def _short(line: str) -> str:
    return line if len(line) <= _LINE_LIMIT else f"{line[: _LINE_LIMIT - 1]}…"
