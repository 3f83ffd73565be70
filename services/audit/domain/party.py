"""A record as a ticket's parties get to see it: who did what and why, not from where and by which rows.

Pure. Auditors get the stored bytes; a requester needs to know who decided, not the approver's address,
token or session, nor the policy's rows.
"""

import json
from typing import Any, Final

from services.audit.domain.ocsf import Json

_WITHHELD: Final = {"name": "withheld"}
"""In place of an address: OCSF wants one word at least about where a call came from."""
_OF_A_VOTE: Final = frozenset({"proof", "revisions"})


def for_parties(record: bytes) -> bytes:
    """The stored record without addresses, token subjects, sessions and the proof of votes."""
    whole: Json = json.loads(record)
    whole.pop("authorizations", None)
    if "ip" in whole.get("src_endpoint", {}):
        whole["src_endpoint"] = _WITHHELD
    actor = whole.get("actor", {})
    actor.pop("session", None)
    actor.get("user", {}).pop("uid_alt", None)
    whole.get("unmapped", {}).get("jit", {}).pop("acr", None)
    return json.dumps(_without_proof(whole), ensure_ascii=False, separators=(",", ":")).encode()


def _without_proof(value: Any) -> Any:
    """Whatever is a vote, wherever a fact holds it, without what it was allowed by."""
    if isinstance(value, list):
        return [_without_proof(one) for one in value]
    if not isinstance(value, dict):
        return value
    left_out = _OF_A_VOTE if {"verdict", "voter"} <= value.keys() else frozenset()
    return {name: _without_proof(inner) for name, inner in value.items() if name not in left_out}
