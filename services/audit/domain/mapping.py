"""An event as an OCSF record: the common part of every record, and the class's own from the registry.

Pure: sequence and time of recording are put in last, by `Record.to_bytes`, because they are only known
under the log's lock. Whatever cannot be mapped becomes a record that says so; nothing is dropped.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic_core import to_json

from services.audit.domain.allowed import BASE
from services.audit.domain.ocsf import (
    APPLICATION_ERROR,
    VERSION,
    Json,
    OcsfClass,
    Severity,
    Status,
    endpoint,
    milliseconds,
    present,
    user,
)
from services.audit.domain.redaction import clean
from services.audit.domain.registry import REGISTRY, TRANSLATION_FAILED, RegistryEntry
from shared.contracts.event import Event
from shared.contracts.topics import AUDIT_OCSF

LARGEST = 800_000
"""Bytes of one record; the outbox and Kafka take no message of a megabyte."""

_STATUS: Final = {Status.SUCCESS: "Success", Status.FAILURE: "Failure"}
_SHA_256: Final = 3


@dataclass(frozen=True)
class Product:
    """Who says all this: the installation and its release."""

    instance: str
    version: str
    org_id: str | None = None


@dataclass(frozen=True)
class Record:
    """A record but for its place in the log, with what it is found by."""

    event_id: str
    source: str
    """The service that said it; the log knows a fact by both."""
    code: str
    key: str
    """Kafka's key: the ticket id where there is one."""
    ticket_id: str | None
    actor_id: str
    account_ids: tuple[str, ...]
    party_ids: tuple[str, ...]
    """Requester and beneficiaries, where the fact names them: they may read the ticket's trail."""
    person_ids: tuple[str, ...]
    """Those, whom a mail was for, and who did it where that is a person; each once."""
    occurred_at: datetime
    ocsf: Json

    def to_bytes(self, sequence: int, recorded_at: datetime) -> bytes:
        """The bytes that are stored, published and served: compact JSON in UTF-8."""
        place = {"sequence": sequence, "logged_time": milliseconds(recorded_at)}
        return _encode({**self.ocsf, "metadata": {**self.ocsf["metadata"], **place}})


class Untranslatable(Exception):
    """The event cannot be mapped; the sentence says why without repeating what is in it."""


def translate(event: Event, *, event_id: str, source: str, product: Product) -> Record:
    """The event as its class's record. Raises Untranslatable; nothing else, whatever the event holds."""
    try:
        entry = REGISTRY[type(event)]
        fields = event.model_dump(mode="json", include=BASE | entry.fields, exclude_none=True)
        body = _ocsf(entry, fields, event_id=event_id, source=source, event=event, product=product)
        record = _record(event, body, event_id=event_id, source=source, code=entry.code)
        size = len(record.to_bytes(0, event.at))
    except Exception as error:
        # A fault in one shape must not cost the record of the fact: the caller keeps what is known.
        raise Untranslatable(f"{event.TYPE}: {type(error).__name__} while mapping") from error
    if size > LARGEST:
        raise Untranslatable(f"{event.TYPE}: its record has {size} bytes, {LARGEST} at most are kept")
    return record


def untranslated(event: Event, why: str, *, event_id: str, source: str, product: Product) -> Record:
    """What is kept of an event that could not be mapped: its envelope, and the digest of its body.

    The body itself stays out, since no allow-list went over it; its owner's outbox has it for 30 days.
    """
    body = event.model_dump_json().encode("utf-8", errors="replace")
    record: Json = {
        **_class(APPLICATION_ERROR, 2, "Translation Error"),
        **_outcome(Severity.HIGH, Status.FAILURE),
        "time": milliseconds(event.at),
        "message": "a fact could not be translated",
        "status_detail": why,
        "raw_data_hash": {
            "algorithm_id": _SHA_256,
            "algorithm": "SHA-256",
            "value": hashlib.sha256(body).hexdigest(),
        },
        "raw_data_size": len(body),
        "metadata": _metadata(
            TRANSLATION_FAILED, event_id, event.about.ticket_id, source, product, ["cloud"]
        ),
        "cloud": _cloud(product),
        "unmapped": {
            "jit": {"event_type": event.TYPE, "subject": event.subject, "version": event.version}
            | {"actor": event.actor.name}
        },
    }
    return _record(event, clean(record), event_id=event_id, source=source, code=TRANSLATION_FAILED)


def _ocsf(
    entry: RegistryEntry, fields: Json, *, event_id: str, source: str, event: Event, product: Product
) -> Json:
    own = {name: value for name, value in fields.items() if name not in BASE}
    shaped = entry.shape(own)
    decided = entry.disposition.attributes() if entry.disposition else {}
    activity = shaped.get("activity_id", entry.activity_id), shaped.get("activity_name", entry.activity_name)
    controlled = bool(decided) or "action_id" in shaped or "authorizations" in shaped
    profiles = ["cloud", "security_control"] if controlled else ["cloud"]
    record = {
        "time": milliseconds(event.at),
        "message": event.why or entry.code,
        "metadata": _metadata(entry.code, event_id, event.about.ticket_id, source, product, profiles),
        "cloud": _cloud(product),
        **decided,
        **(_who(fields["actor"]) if entry.ocsf.takes_actor else {}),
        **shaped,
        **_class(entry.ocsf, *activity),
        **_outcome(shaped.get("severity_id", entry.severity), entry.status),
        "unmapped": {"jit": _context(event, fields) | shaped.get("unmapped", {})},
    }
    cleaned: Json = clean(record)
    return cleaned


def _class(cls: OcsfClass, activity_id: int, activity_name: str) -> Json:
    return {
        "category_uid": cls.category,
        "class_uid": cls.uid,
        "class_name": cls.name,
        "activity_id": activity_id,
        "activity_name": activity_name,
        "type_uid": cls.uid * 100 + activity_id,
    }


def _outcome(severity: Severity, status: Status) -> Json:
    return {
        "severity_id": int(severity),
        "severity": severity.name.capitalize(),
        "status_id": int(status),
        "status": _STATUS[status],
    }


def _metadata(
    code: str, event_id: str, ticket_id: str | None, source: str, product: Product, profiles: list[str]
) -> Json:
    return present(
        version=VERSION,
        profiles=profiles,
        uid=event_id,
        event_code=code,
        correlation_uid=ticket_id,
        log_name=AUDIT_OCSF,
        tenant_uid=product.instance,
        product={
            "name": "JIT",
            "vendor_name": "JIT",
            "version": product.version,
            "feature": {"name": source},
        },
    )


def _cloud(product: Product) -> Json:
    return {"provider": "AWS", "org": present(name=product.instance, uid=product.org_id)}


def _who(actor: Json) -> Json:
    """`actor` and `src_endpoint`. A service acts under its own name."""
    if actor["kind"] == "service":
        name = f"jit-{actor['name']}"
        return {"actor": {"app_name": name}, "src_endpoint": endpoint(None, otherwise=name)}
    person = user(actor["user_id"], name=actor["name"]) if "user_id" in actor else {"name": actor["name"]}
    session = present(issuer=actor.get("iss"), created_time=milliseconds(actor.get("auth_time")))
    return {
        "actor": present(
            user=person | present(uid_alt=actor.get("sub")),
            session=session or None,
            app_name=actor.get("client"),
        ),
        "src_endpoint": endpoint(actor.get("ip"), otherwise="unknown"),
    }


def _context(event: Event, fields: Json) -> Json:
    """What every fact of ours says and OCSF has no attribute for."""
    return present(
        event_type=event.TYPE,
        subject=event.subject,
        version=event.version,
        why=event.why or None,
        cause=event.cause,
        acr=fields["actor"].get("acr"),
        # Email and error classes know no actor, but who caused it must not be lost.
        actor=fields["actor"].get("user_id", fields["actor"]["name"]),
    )


def _record(event: Event, body: Json, *, event_id: str, source: str, code: str) -> Record:
    about = event.about
    doer = () if event.actor.user_id is None else (event.actor.user_id,)
    people = dict.fromkeys((*about.party_ids, *about.addressee_ids, *doer))
    return Record(
        event_id=event_id,
        source=source,
        code=code,
        key=_plain(about.ticket_id or event.subject),
        ticket_id=None if about.ticket_id is None else _plain(about.ticket_id),
        actor_id=_plain(event.actor.user_id or event.actor.name),
        account_ids=tuple(_plain(account_id) for account_id in about.account_ids),
        party_ids=tuple(_plain(user_id) for user_id in about.party_ids),
        person_ids=tuple(_plain(user_id) for user_id in people),
        occurred_at=event.at,
        ocsf=body,
    )


def _plain(text: str) -> str:
    cleaned: str = clean(text)
    return cleaned


def _encode(record: dict[str, Any]) -> bytes:
    return to_json(record)
