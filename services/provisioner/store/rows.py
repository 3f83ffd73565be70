"""Rows of the views `whole_assignment`, `whole_claim` and `whole_extension` as the domain's values."""

from typing import Any

import asyncpg

from services.provisioner.domain.assignments import Assignment, Observed, Op
from services.provisioner.domain.claims import Claim, ClaimExtension, ClaimExtensionState, ClaimState
from shared.contracts.access import EndCause


def assignment_of(row: asyncpg.Record) -> Assignment:
    fields: dict[str, Any] = dict(row)
    kind, started, request_id = (fields.pop(f"op_{name}") for name in ("kind", "started", "request_id"))
    fields["op"] = Op(kind, started, request_id) if kind else None
    fields["observed"] = Observed(fields["observed"])
    fields["claims"] = tuple(claim_of(claim) for claim in fields["claims"])
    return Assignment(**fields)


def claim_of(row: asyncpg.Record) -> Claim:
    fields: dict[str, Any] = dict(row)
    fields["state"] = ClaimState(fields["state"])
    fields["end_cause"] = EndCause(fields["end_cause"]) if fields["end_cause"] else None
    fields["kept_by"], fields["parties"] = tuple(fields["kept_by"]), tuple(fields["parties"])
    fields["extensions"] = tuple(extension_of(extension) for extension in fields["extensions"])
    return Claim(**fields)


def extension_of(row: asyncpg.Record) -> ClaimExtension:
    fields: dict[str, Any] = dict(row)
    fields["state"] = ClaimExtensionState(fields["state"])
    return ClaimExtension(**fields)
