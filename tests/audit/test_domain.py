import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.audit.domain import mapping
from services.audit.domain.mapping import LARGEST, Product, Record, Untranslatable, translate, untranslated
from services.audit.domain.ocsf import milliseconds
from services.audit.domain.redaction import clean
from services.audit.domain.registry import REGISTRY
from shared.contracts.access import AccessExtended, AccessExtensionFailed, AccessGranted
from shared.contracts.approval import ExtensionEnd, ReviewDecided, Verdict
from shared.contracts.configuration import AuditRead, AuthzDenied, facts_of
from shared.contracts.documents import AccessScope, ApprovalRule, RegisteredAccount
from shared.contracts.event import Actor, Event
from shared.contracts.notification import NotificationFailed, NotificationSent
from shared.contracts.stop import TicketTerminated
from shared.contracts.ticket import (
    TicketExtensionRejected,
    TicketExtensionRequested,
    TicketRevised,
    TicketSubmitted,
)
from shared.foundation.clock import new_id
from shared.text.secrets_in_text import redact
from tests.support import ocsf
from tests.support.fact_parts import EXTENSION_ID
from tests.support.facts import GRANT_ID, TARGET_ID, TICKET_ID, contract_events, example, somebody
from tests.support.harness import NOW
from tests.support.organisation import D, P, user_id

SCOPE_FACTS = facts_of(AccessScope)
RULE_FACTS = facts_of(ApprovalRule)
ACCOUNT_FACTS = facts_of(RegisteredAccount)

PRODUCT = Product("default", "1.4.0", "o-a1b2c3d4e5")

every_event = pytest.mark.parametrize("cls", contract_events(), ids=lambda cls: cls.TYPE)


def record(event: Event) -> Record:
    return translate(event, event_id=new_id(), source="ticket", product=PRODUCT)


def ocsf_of(event: Event) -> dict[str, Any]:
    """The event as it would be published, at sequence 7."""
    parsed: dict[str, Any] = json.loads(record(event).to_bytes(7, NOW + timedelta(hours=1)))
    return parsed


def jit(event: Event) -> dict[str, Any]:
    found: dict[str, Any] = ocsf_of(event)["unmapped"]["jit"]
    return found


# every event


@every_event
def test_translate_example_is_valid_ocsf(cls: type[Event]) -> None:
    assert ocsf.problems(ocsf_of(example(cls))) == []


@every_event
def test_translate_example_without_anything_optional_is_valid_ocsf(cls: type[Event]) -> None:
    full = example(cls)
    optional = [name for name, field in cls.model_fields.items() if not field.is_required()]
    bare = cls.model_validate(full.model_dump(exclude=set(optional)))
    assert ocsf.problems(ocsf_of(bare)) == []


@every_event
def test_translate_example_of_service_and_person_is_valid_ocsf(cls: type[Event]) -> None:
    for actor in (Actor.service("ticket"), somebody("root"), Actor(kind="person", name="nobody")):
        assert ocsf.problems(ocsf_of(example(cls).model_copy(update={"actor": actor}))) == []


def mutants(event: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Copies that must not validate: without a required attribute, or with one nobody knows."""
    for name in ocsf.schema_of(event["class_uid"])["required"]:
        yield f"without {name}", {key: value for key, value in event.items() if key != name}
    for name in ("version", "product"):
        metadata = {key: value for key, value in event["metadata"].items() if key != name}
        yield f"without metadata.{name}", {**event, "metadata": metadata}
    yield "with an unknown attribute", {**event, "jit": 1}
    for inside in ("metadata", "cloud", "actor", "entity", "user", "email", "api"):
        if inside in event:
            yield f"unknown in {inside}", {**event, inside: {**event[inside], "jit": 1}}
    yield "another type_uid", {**event, "type_uid": event["type_uid"] + 1}
    yield "time as text", {**event, "time": str(event["time"])}


@every_event
def test_validate_mutant_of_example_finds_the_fault(cls: type[Event]) -> None:
    valid = ocsf_of(example(cls))
    uid = valid["class_uid"]
    accepted = [what for what, mutant in mutants(valid) if not ocsf.problems(mutant, class_uid=uid)]
    assert accepted == []


@every_event
def test_translate_example_names_what_every_record_names(cls: type[Event]) -> None:
    event_id = new_id()
    event = example(cls)
    made = translate(event, event_id=event_id, source="ticket", product=PRODUCT)
    said = json.loads(made.to_bytes(7, NOW))
    metadata = said["metadata"]
    assert metadata["uid"] == event_id
    assert f"{metadata['event_code']}.v1" == cls.TYPE
    assert metadata["sequence"] == 7
    assert metadata["logged_time"] == int(NOW.timestamp() * 1000)
    assert metadata["tenant_uid"] == "default"
    assert metadata["product"]["feature"]["name"] == "ticket"
    assert metadata.get("correlation_uid") == made.ticket_id
    assert said["time"] == int(event.at.timestamp() * 1000)
    assert said["unmapped"]["jit"]["cause"] == event.cause
    assert said["cloud"]["org"] == {"name": "default", "uid": "o-a1b2c3d4e5"}


@every_event
def test_translate_fields_outside_the_allow_list_never_arrive(cls: type[Event]) -> None:
    class Grown(cls):  # type: ignore[misc, valid-type]
        TYPE = ""
        password: str = "canary-of-a-new-field"

    REGISTRY[Grown] = REGISTRY[cls]
    try:
        grown = Grown.model_validate(example(cls).model_dump())
        assert b"canary" not in record(grown).to_bytes(1, NOW)
    finally:
        del REGISTRY[Grown]


# kinds


def test_translate_ticket_keeps_what_the_fact_carries_with_its_reason() -> None:
    said = ocsf_of(example(TicketSubmitted))
    assert said["comment"] == "Deploy the payments hotfix of change 4711"
    assert said["entity"]["uid"] == TICKET_ID
    assert said["entity"]["data"]["grants"][0]["beneficiary"] == user_id("ann")
    assert said["entity"]["data"]["targets"][0]["state"] == "pending"
    assert said["actor"]["user"]["uid"] == user_id("ann")
    assert said["src_endpoint"] == {"ip": "192.0.2.10"}


def test_translate_ticket_says_the_reason_that_was_given_last() -> None:
    event = example(TicketRevised)
    (first,) = event.ticket.targets
    later = {"reason": "Now with the incident's number", "submitted_at": NOW + timedelta(hours=1)}
    whole = event.ticket.model_copy(update={"targets": (first.model_copy(update=later), first)})
    said = ocsf_of(event.model_copy(update={"ticket": whole}))
    assert said["comment"] == "Now with the incident's number"
    assert (said["activity_name"], said["type_uid"]) == ("Update", 300403)


def test_translate_extension_says_why_it_is_wanted_and_keeps_it_whole() -> None:
    said = ocsf_of(example(TicketExtensionRequested))
    assert said["comment"] == "The hotfix needs another hour of watching"
    (extension,) = said["entity"]["data"]["extensions"]
    assert (extension["id"], extension["requested_by"]["user_id"]) == (EXTENSION_ID, user_id("ann"))
    assert said["unmapped"]["jit"]["extension_id"] == EXTENSION_ID


@pytest.mark.parametrize(
    ("code", "disposition"),
    [
        (ExtensionEnd.REJECTED, "Rejected"),
        (ExtensionEnd.NO_RULE, "Rejected"),
        (ExtensionEnd.UNAPPROVABLE, "Rejected"),
        (ExtensionEnd.TIMED_OUT, None),
        (ExtensionEnd.WITHDRAWN, None),
        (ExtensionEnd.STOPPED, None),
    ],
)
def test_translate_extension_that_is_over_was_denied_only_by_a_review(
    code: ExtensionEnd, disposition: str | None
) -> None:
    said = ocsf_of(example(TicketExtensionRejected).model_copy(update={"code": code}))
    assert said.get("disposition") == disposition
    assert said["unmapped"]["jit"]["code"] == code


def test_translate_extended_access_has_the_new_end_and_names_the_one_before() -> None:
    event = example(AccessExtended)
    said = ocsf_of(event)
    assert said["end_time"] == milliseconds(event.ends_at)
    assert said["unmapped"]["jit"]["ended_before"] == event.ended_before.isoformat().replace("+00:00", "Z")
    failed = ocsf_of(example(AccessExtensionFailed))
    assert (failed["status"], failed["status_code"], failed["severity"]) == ("Failure", "stopped", "Medium")


def test_translate_stop_says_access_revoked() -> None:
    said = ocsf_of(example(TicketTerminated))
    assert (said["disposition"], said["severity"], said["status"]) == ("Access Revoked", "Low", "Success")
    assert said["metadata"]["profiles"] == ["cloud", "security_control"]


def test_translate_stop_whose_ticket_cannot_be_read_says_what_is_stopped_by_whom_and_why() -> None:
    unread = example(TicketTerminated).model_copy(update={"ticket": None})
    said = ocsf_of(unread)
    assert ocsf.problems(said) == []
    assert (said["entity"]["uid"], said["entity"]["type"]) == (TICKET_ID, "JIT Ticket")
    assert (said["actor"]["user"]["name"], said["message"]) == ("root", unread.why)
    assert (said["disposition"], said["severity"]) == ("Access Revoked", "Low")
    assert jit(unread)["grant_ids"] == [GRANT_ID]
    assert jit(unread)["targets"] == [{"id": TARGET_ID, "revision": 1}]
    made = record(unread)
    assert (made.ticket_id, made.key, made.account_ids, made.party_ids) == (TICKET_ID, TICKET_ID, (), ())


@pytest.mark.parametrize(("verdict", "disposition"), [("approve", "Approved"), ("reject", "Rejected")])
def test_translate_vote_says_its_verdict_and_proof(verdict: str, disposition: str) -> None:
    event = example(ReviewDecided)
    vote = event.vote.model_copy(update={"verdict": Verdict(verdict), "acting_for": user_id("dora")})
    said = ocsf_of(event.model_copy(update={"vote": vote}))
    assert (said["activity_name"], said["disposition"]) == (verdict.title(), disposition)
    assert said["authorizations"][0]["policy"]["name"].startswith("rule/prod ")
    assert said["entity"]["data"]["vote"]["acting_for"] == user_id("dora")


def test_translate_granted_names_beneficiary_set_account_and_call() -> None:
    said = ocsf_of(example(AccessGranted))
    assert said["type_uid"] == 300501
    assert said["user"]["uid"] == user_id("ann")
    assert said["resources"][0]["uid"] == P
    assert said["api"]["operation"] == "CreateAccountAssignment"


def test_translate_granted_found_beforehand_names_no_call() -> None:
    found = example(AccessGranted).model_copy(update={"request_id": None, "already_held": True})
    assert "api" not in ocsf_of(found)
    assert jit(found)["already_held"] is True


def test_translate_change_of_scope_holds_old_and_new() -> None:
    said = ocsf_of(example(SCOPE_FACTS.changed))
    assert said["entity"]["data"]["max_duration"] == "PT1H"
    assert said["entity_result"]["data"]["max_duration"] == "PT4H"
    assert said["severity"] == "Low"


def test_translate_change_of_rule_to_fewer_approvals_is_louder() -> None:
    weakened = example(RULE_FACTS.changed)
    strengthened = weakened.model_copy(update={"before": weakened.after, "after": weakened.before})
    automatic = weakened.model_copy(
        update={"after": {**(weakened.before or {}), "auto_approve_up_to": "PT1H"}}
    )
    assert ocsf_of(weakened)["severity"] == "Medium"
    assert ocsf_of(automatic)["severity"] == "Medium"
    assert ocsf_of(strengthened)["severity"] == "Low"


def test_translate_change_drops_fields_its_document_does_not_have() -> None:
    changed = example(RULE_FACTS.changed)
    body = {**(changed.after or {}), "password": "canary", "stages": [{"needed": 1, "token": "canary"}]}
    assert "canary" not in json.dumps(ocsf_of(changed.model_copy(update={"after": body})))


@pytest.mark.parametrize(
    ("route", "activity"),
    [
        ("GET /v1/audit/events", 2),
        ("POST /v1/tickets", 1),
        ("PUT /v1/rules/x", 3),
        ("DELETE /v1/scopes/x", 4),
        ("", 99),
    ],
)
def test_translate_denial_takes_its_activity_from_the_method(route: str, activity: int) -> None:
    said = ocsf_of(example(AuthzDenied).model_copy(update={"route": route}))
    assert said["activity_id"] == activity
    assert said["disposition"] == "Unauthorized"
    assert said["status"] == "Failure"
    assert ocsf.problems(said) == []


@pytest.mark.parametrize("address", [None, "", "ünï@example.com", "no address", "a@b"])
def test_translate_mail_to_strange_address_is_valid_and_keeps_it(address: str | None) -> None:
    first, second = example(NotificationSent).mails
    strange = (first.model_copy(update={"address": address}), second)
    said = ocsf_of(example(NotificationSent).model_copy(update={"mails": strange}))
    assert ocsf.problems(said) == []
    assert said["email"]["to"] == ["cora@example.com"]
    assert said["unmapped"]["jit"]["mails"][0].get("address") == address


def test_translate_mails_names_each_person_and_none_in_the_place_of_all() -> None:
    event = example(NotificationFailed)
    said = ocsf_of(event)
    assert ocsf.problems(said) == []
    assert (said["status"], said["status_code"], said["count"]) == ("Failure", "550", 2)
    assert said["email"] == {"to": ["carl@example.com", "cora@example.com"]}
    told = {one["recipient"]: one["message_id"] for one in said["unmapped"]["jit"]["mails"]}
    assert told == {mail.recipient: mail.message_id for mail in event.mails}


def test_translate_one_mail_has_its_message_id_where_ocsf_has_it() -> None:
    first, _ = example(NotificationSent).mails
    said = ocsf_of(example(NotificationSent).model_copy(update={"mails": (first,)}))
    assert said["email"] == {"to": ["carl@example.com"], "message_uid": first.message_id}
    assert "count" not in said


def test_translate_mails_is_found_by_each_recipient_who_becomes_no_party() -> None:
    made = record(example(NotificationSent))
    assert made.person_ids == (user_id("carl"), user_id("cora"))
    assert made.party_ids == ()


# what it is found by


def test_translate_ticket_fact_is_found_by_ticket_account_actor_and_party() -> None:
    made = record(example(TicketSubmitted))
    assert made.ticket_id == made.key == TICKET_ID
    assert made.actor_id == user_id("ann")
    assert made.account_ids == (P,)
    assert made.party_ids == (user_id("ann"),)
    assert made.person_ids == (user_id("ann"),)


def test_translate_stop_named_by_grants_alone_is_found_by_their_account_only() -> None:
    stopped = example(TicketTerminated)
    first = stopped.ticket.targets[0]
    elsewhere = first.model_copy(update={"id": "elsewhere", "account_id": D})
    whole = stopped.ticket.model_copy(update={"targets": (first, elsewhere)})
    named = {"ticket": whole, "grant_ids": (GRANT_ID,)}
    assert record(stopped.model_copy(update=named)).account_ids == (P,)


def test_translate_registration_is_found_by_its_account_and_no_ticket() -> None:
    made = record(example(ACCOUNT_FACTS.registered))
    assert (made.ticket_id, made.key, made.account_ids) == (None, P, (P,))


def test_translate_denial_of_several_says_how_many_and_since_when() -> None:
    several = example(AuthzDenied)
    said = ocsf_of(several)
    assert several.since is not None
    assert (said["count"], said["start_time"], said["time"]) == (
        3,
        milliseconds(several.since),
        milliseconds(several.at),
    )
    assert ocsf.problems(said) == []


def test_translate_denial_of_one_says_no_number() -> None:
    said = ocsf_of(example(AuthzDenied).model_copy(update={"count": 1, "since": None}))
    assert {"count", "start_time"} & set(said) == set()
    assert {"count", "since"} & set(said["unmapped"]["jit"]) == set()


def test_translate_denial_about_no_ticket_is_found_under_none() -> None:
    about_nothing = example(AuthzDenied).model_copy(update={"subject": user_id("ann")})
    assert record(about_nothing).ticket_id is None
    assert record(example(AuthzDenied)).ticket_id == TICKET_ID


def test_translate_reading_of_a_ticket_stays_out_of_its_trail() -> None:
    assert record(example(AuditRead)).ticket_id is None


# secrets and strange text

CANARIES = (
    "Authorization: Bearer c4n4ry-t0k3n-value",
    "basic YW5uOmM0bjRyeXBhc3M=",
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjNG40cnkifQ.c2lnbmF0dXJl",
    "AKIAC4N4RYC4N4RYC4N4",
    "aws_secret_access_key = c4n4ryc4n4ryc4n4ryc4n4ryc4n4ry",
    "-----BEGIN RSA PRIVATE KEY-----\nc4n4ry\n-----END RSA PRIVATE KEY-----",
    "ghp_c4n4ryc4n4ryc4n4ryc4n4ry0000",
)
_LEAKED = ("c4n4ry", "YW5uOmM0bjRyeXBhc3M", "eyJhbGci", "C4N4RY")


@pytest.mark.parametrize("secret", CANARIES, ids=range(len(CANARIES)))
@every_event
def test_translate_secret_in_a_text_is_struck_out(cls: type[Event], secret: str) -> None:
    event = _with_texts(example(cls), f"see {secret} please")
    text = record(event).to_bytes(1, NOW).decode()
    assert [leak for leak in _LEAKED if leak in text] == []
    assert "[redacted]" in text
    kept = untranslated(event, "fault", event_id=new_id(), source="ticket", product=PRODUCT)
    assert [leak for leak in _LEAKED if leak in kept.to_bytes(1, NOW).decode()] == []


@given(st.uuids())
def test_no_id_is_taken_for_a_credential_so_that_none_need_be_asked(identity: UUID) -> None:
    """`clean` lets such texts pass unasked."""
    assert redact(str(identity)) == clean(str(identity)) == str(identity)
    assert "[redacted]" in clean(f"{identity} password=hunter2hunter2")


def _with_texts(event: Event, text: str) -> Event:
    """The event with a text in every place where people write."""
    changed: dict[str, Any] = {"why": text, "cause": text}
    if isinstance(event, TicketSubmitted):
        targets = tuple(one.model_copy(update={"reason": text}) for one in event.ticket.targets)
        changed["ticket"] = event.ticket.model_copy(update={"targets": targets, "reference": text})
    if isinstance(event, ReviewDecided):
        changed["vote"] = event.vote.model_copy(update={"comment": text})
    for name in ("detail", "last_error", "name"):
        if name in type(event).model_fields:
            changed[name] = text
    if isinstance(event, SCOPE_FACTS.changed):
        changed["after"] = {**(event.after or {}), "name": text, text: text}
    if isinstance(event, AuditRead):
        changed["query"] = {text: text}
    return event.model_copy(update=changed)


@every_event
def test_translate_text_no_store_takes_is_replaced(cls: type[Event]) -> None:
    strange = _with_texts(example(cls), "nul \x00 and half \ud83d a character").model_copy(
        update={"subject": "with\x00nul"}
    )
    made = record(strange)
    parsed = json.loads(made.to_bytes(1, NOW))
    assert "\x00" not in json.dumps(parsed, ensure_ascii=False)
    assert "\x00" not in f"{made.key}{made.ticket_id}{made.actor_id}"
    assert ocsf.problems(parsed) == []


# what cannot be translated


def test_translate_fault_in_a_shape_says_which_event_and_not_what_it_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def faulty(_fields: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("canary")

    entry = REGISTRY[TicketSubmitted]
    broken = mapping.REGISTRY | {TicketSubmitted: type(entry)(**{**vars(entry), "shape": faulty})}
    monkeypatch.setattr(mapping, "REGISTRY", broken)
    with pytest.raises(Untranslatable) as raised:
        record(example(TicketSubmitted))
    assert str(raised.value) == "ticket.submitted.v1: KeyError while mapping"


def test_translate_record_too_large_for_a_message_is_refused() -> None:
    huge = example(TicketSubmitted).model_copy(update={"why": "x" * LARGEST})
    with pytest.raises(Untranslatable, match="bytes"):
        record(huge)


@every_event
def test_untranslated_event_is_a_valid_translation_error_with_its_ids(cls: type[Event]) -> None:
    event = example(cls)
    kept = untranslated(event, "why not", event_id=new_id(), source="ticket", product=PRODUCT)
    said = json.loads(kept.to_bytes(7, NOW))
    assert ocsf.problems(said) == []
    assert said["type_uid"] == 600802
    assert said["unmapped"]["jit"]["event_type"] == cls.TYPE
    assert said["status_detail"] == "why not"
    assert kept.ticket_id == record(event).ticket_id
    assert kept.account_ids == record(event).account_ids
