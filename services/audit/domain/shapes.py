"""Which attribute of OCSF takes which field of ours: one function per kind of fact.

A shape gets the fields its registry entry allows, as JSON, and never the event itself: what is not on the
allow-list cannot get past here. It may also set activity, severity or disposition where the fact decides.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from services.audit.domain.ocsf import (
    APPROVED,
    OTHER,
    REJECTED,
    Json,
    Severity,
    authorizations,
    entity,
    milliseconds,
    present,
    user,
)
from shared.contracts.approval import ExtensionEnd
from shared.contracts.documents import DOCUMENTS, ApprovalRule, RuleStage, binding_id

_ADDRESS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~.]+@[A-Za-z0-9-]+\.[A-Za-z0-9.-]+")
_ENTITY_OF_KIND: Final = {
    "registered_account": "AWS Account",
    "registered_set": "AWS Permission Set",
    "scope": "JIT Access Scope",
    "rule": "JIT Approval Rule",
}
_API_ACTIVITY: Final = {
    "POST": (1, "Create"),
    "GET": (2, "Read"),
    "HEAD": (2, "Read"),
    "PUT": (3, "Update"),
    "PATCH": (3, "Update"),
    "DELETE": (4, "Delete"),
}


def ticket(fields: Json) -> Json:
    """The ticket after the fact, with the targets it is about; the comment is the last reason for them."""
    told = fields["ticket"]
    newest = max(told["targets"], key=lambda target: str(target["submitted_at"]))
    return {
        "entity": entity(told["id"], "JIT Ticket", data=told, version=told["version"]),
        "comment": newest["reason"],
        "unmapped": _rest(fields, "ticket"),
    }


def stop(fields: Json) -> Json:
    """As any fact of a ticket; by the ids alone where the ticket could not be read."""
    if "ticket" in fields:
        return ticket(fields)
    return {
        "entity": entity(fields["ticket_id"], "JIT Ticket"),
        "unmapped": _rest(fields),
    }


def extension(fields: Json) -> Json:
    """The ticket as well; the comment is why a later end is wanted."""
    found = [one for one in fields["ticket"]["extensions"] if one["id"] == fields["extension_id"]]
    return {**ticket(fields), **present(comment=next((one["reason"] for one in found), None))}


def declined_extension(fields: Json) -> Json:
    """Denied only where approval said so: what timed out or was dropped was not decided."""
    decided = REJECTED.attributes() if ExtensionEnd(fields["code"]).was_decided else {}
    return {**extension(fields), **decided}


def review(fields: Json) -> Json:
    """The review, with what this fact says about it."""
    return {
        "entity": entity(fields["review_id"], "JIT Review", data=_rest(fields, "review_id")),
    }


def vote(fields: Json) -> Json:
    """One decision: its verdict is the activity, its proof the authorisations."""
    cast = fields["vote"]
    approve = cast["verdict"] == "approve"
    return {
        **review(fields),
        "activity_id": OTHER,
        "activity_name": "Approve" if approve else "Reject",
        **(APPROVED if approve else REJECTED).attributes(),
        **present(
            authorizations=authorizations("Allowed", cast.get("proof", ())),
            comment=cast.get("comment") or None,
        ),
    }


def access(fields: Json) -> Json:
    """A claim: who has (or had) which set on which account until when, and what AWS was asked."""
    return present(
        user=user(fields["user_id"]),
        privileges=[fields["set_id"]],
        resources=[{"uid": fields["account_id"], "type": "AWS::Organizations::Account"}],
        start_time=milliseconds(fields.get("starts_at")),
        end_time=milliseconds(fields["ends_at"]),
        status_code=fields.get("code"),
        status_detail=fields.get("detail") or fields.get("last_error") or fields.get("cause_of_end"),
        unmapped=_rest(fields, "user_id", "set_id", "account_id", "starts_at"),
    )


def assigned(fields: Json) -> Json:
    """A claim that was read back as there. No request id: it had been there before."""
    return {**access(fields), **_call("CreateAccountAssignment", fields.get("request_id"))}


def unassigned(fields: Json) -> Json:
    """A claim that was read back as gone."""
    return {**access(fields), **_call("DeleteAccountAssignment", fields.get("request_id"))}


def created_document(fields: Json) -> Json:
    return {"entity": _document(fields, "after"), "unmapped": _rest(fields, "before", "after")}


def changed_document(fields: Json) -> Json:
    """`entity` is the document before, `entity_result` after the change."""
    return {
        "entity": _document(fields, "before"),
        "entity_result": _document(fields, "after"),
        "unmapped": _rest(fields, "before", "after"),
    }


def removed_document(fields: Json) -> Json:
    return {"entity": _document(fields, "before"), "unmapped": _rest(fields, "before", "after")}


def changed_rule(fields: Json) -> Json:
    """As any document; louder when fewer approvals are needed than before."""
    weaker = _approvals(fields.get("after")) < _approvals(fields.get("before"))
    severity = {"severity_id": Severity.MEDIUM} if weaker else {}
    return {**changed_document(fields), **severity}


def denial(fields: Json) -> Json:
    """A call that was refused, by the route's method; `authorizations` are the rules that said no.

    Several like it are one record, with their number and since when; its time is the last one's.
    """
    method, _, path = fields.get("route", "").partition(" ")
    activity_id, activity_name = _API_ACTIVITY.get(method, (OTHER, "Other"))
    return present(
        activity_id=activity_id,
        activity_name=activity_name,
        api={"operation": fields["verb"], "service": {"name": "jit"}},
        http_request=present(http_method=method, url={"path": path}) if method in _API_ACTIVITY else None,
        authorizations=authorizations("Denied", fields.get("rules", ())),
        resources=[{"uid": fields["object_id"]}] if fields.get("object_id") else None,
        status_code=fields["code"],
        count=fields["count"] if fields["count"] > 1 else None,
        start_time=milliseconds(fields.get("since")),
        unmapped=_rest(fields, "rules", "object_id", "count", "since"),
    )


def reading(fields: Json) -> Json:
    return {
        "api": {"operation": "audit.read", "service": {"name": "jit"}},
        "unmapped": _rest(fields),
    }


def operation(fields: Json) -> Json:
    return {
        "api": {"operation": fields["operation"], "service": {"name": "jit"}},
        "unmapped": _rest(fields, "operation"),
    }


def confirmation(fields: Json) -> Json:
    return {
        "api": {"operation": "inventory.confirm", "service": {"name": "jit"}},
        "unmapped": _rest(fields),
    }


def pause(fields: Json) -> Json:
    return {
        "api": {"operation": "grants.pause", "service": {"name": "jit"}},
        "unmapped": _rest(fields),
    }


def resumption(fields: Json) -> Json:
    """With the pause that it ended."""
    return {
        "api": {"operation": "grants.resume", "service": {"name": "jit"}},
        "unmapped": _rest(fields),
    }


def revocation(fields: Json) -> Json:
    """What was named is the resource; which grants ended stands in `unmapped`."""
    named = [fields[name] for name in ("ticket_id", "user_id", "account_id") if fields.get(name)]
    return {
        "api": {"operation": "access.revoke", "service": {"name": "jit"}},
        "resources": [{"uid": one} for one in named],
        "unmapped": _rest(fields),
    }


def binding(fields: Json) -> Json:
    """Which user a subject is, or was taken for; the entity goes by the binding's id."""
    uid = binding_id(fields["iss"], fields["sub"])
    return {
        "entity": entity(uid, "JIT Binding", data=_rest(fields)),
        "unmapped": _rest(fields, "iss", "sub"),
    }


def mails(fields: Json) -> Json:
    """Mails about the same, one to each person, without their text; `count` says how many.

    Who got which stands in `unmapped`, with any address that OCSF would not take.
    """
    listed = fields["mails"]
    code = fields.get("smtp_code")
    return present(
        direction_id=2,
        direction="Outbound",
        email=present(to=_addresses(listed), message_uid=_only(one["message_id"] for one in listed)),
        count=len(listed) if len(listed) > 1 else None,
        attempt=fields["attempts"],
        status_code=None if code is None else str(code),
        status_detail=fields.get("detail") or None,
        unmapped=_rest(fields, "attempts"),
    )


def _addresses(listed: Iterable[Json]) -> list[str]:
    """Those that OCSF takes, each once."""
    known = (one["address"] for one in listed if one.get("address") is not None)
    return list(dict.fromkeys(address for address in known if _ADDRESS.fullmatch(address)))


def _only(values: Iterable[str]) -> str | None:
    """The one that there is; None where there are several."""
    first, *others = values
    return None if others else first


def _call(operation: str, request_id: str | None) -> Json:
    """The call to AWS that did it; nothing where none was made."""
    if request_id is None:
        return {}
    return {
        "api": {
            "operation": operation,
            "service": {"name": "sso.amazonaws.com"},
            "request": {"uid": request_id},
        }
    }


def _document(fields: Json, state: str) -> Json:
    """A catalog or rule document, with those of its fields that its contract names."""
    kind, _, document_id = fields["document"].partition("/")
    body = fields.get(state)
    data = None if body is None else _known(kind, body)
    described = entity(
        document_id, _entity_type(kind), data=data, version=data.get("revision") if data else None
    )
    return {**described, **present(name=fields.get("name") or None)}


def _entity_type(kind: str) -> str:
    """Kinds that AWS has a name for, or that have had another one; else the kind's own."""
    return _ENTITY_OF_KIND.get(kind) or f"JIT {kind.replace('_', ' ').title()}"


def _known(kind: str, body: Json) -> Json:
    known = {name: body[name] for name in DOCUMENTS[kind].model_fields if name in body}
    if DOCUMENTS[kind] is ApprovalRule and "stages" in known:
        known["stages"] = [
            {name: stage[name] for name in RuleStage.model_fields if name in stage}
            for stage in known["stages"]
        ]
    return known


def _approvals(rule: Json | None) -> int:
    """How many approvals a rule asks for; none where it approves by itself."""
    if rule is None or rule.get("auto_approve_up_to") is not None:
        return 0
    return sum(stage.get("needed", 1) for stage in rule.get("stages", ()))


def _rest(fields: Json, *taken: str) -> dict[str, Any]:
    """The allowed fields that have no home of their own in the class."""
    return {name: value for name, value in fields.items() if name not in taken}
