"""docs/audit.md against the registry: its table and examples are generated and must not drift."""

import json
import os
import re
from pathlib import Path

from services.audit.domain.mapping import Product, Record, translate, untranslated
from services.audit.domain.ocsf import OTHER
from services.audit.domain.registry import REGISTRY, RegistryEntry
from shared.contracts.access import AccessGranted
from shared.contracts.approval import ReviewDecided
from shared.contracts.configuration import AuditRead, AuthzDenied, facts_of
from shared.contracts.documents import AccessScope
from shared.contracts.event import Event
from shared.contracts.notification import NotificationSent
from shared.contracts.ticket import TicketSubmitted
from tests.support.facts import example
from tests.support.harness import NOW

SCOPE_FACTS = facts_of(AccessScope)

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"
WRITE = "JIT_WRITE_GOLDEN"
KINDS: tuple[tuple[str, type[Event], str], ...] = (
    ("A ticket", TicketSubmitted, "ticket"),
    ("A vote in a review", ReviewDecided, "approval"),
    ("Access, as read back from AWS", AccessGranted, "provisioner"),
    ("A change of what people may get", SCOPE_FACTS.changed, "ticket"),
    ("A refusal", AuthzDenied, "ticket"),
    ("A reading of this log", AuditRead, "audit"),
    ("Mails about one event", NotificationSent, "notifier"),
)
_PRODUCT = Product("default", "0.1.0", "o-a1b2c3d4e5")
_ID = "0195556a-0000-7000-8000-00000000000a"


def table() -> str:
    """One line per event code, in the order of the registry."""
    head = (
        "| Code | When | Class | Activity | type_uid | Severity | Status |\n|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(_line(entry) for entry in REGISTRY.values())


def _line(entry: RegistryEntry) -> str:
    type_uid = entry.ocsf.uid * 100 + entry.activity_id
    shown = str(type_uid) if entry.activity_name != "by the route's method" else f"{entry.ocsf.uid}xx"
    other = " (other)" if entry.activity_id == OTHER else ""
    return (
        f"| `{entry.code}` | {entry.when} | {entry.ocsf.name} {entry.ocsf.uid} | "
        f"{entry.activity_name}{other} | {shown} | {entry.severity.name.capitalize()} | "
        f"{entry.status.name.capitalize()} |\n"
    )


def examples() -> str:
    """One record per kind of fact, as it leaves."""
    parts = [
        _shown(title, translate(example(cls), event_id=_ID, source=source, product=_PRODUCT))
        for title, cls, source in KINDS
    ]
    why = "ticket.submitted.v1: KeyError while mapping"
    failed = untranslated(example(TicketSubmitted), why, event_id=_ID, source="ticket", product=_PRODUCT)
    return "\n".join([*parts, _shown("A fact that could not be translated", failed)])


def _shown(title: str, made: Record) -> str:
    record = json.loads(made.to_bytes(48211, NOW))
    text = json.dumps(record, indent=1, ensure_ascii=False)
    return f"### {title}: `{made.code}`\n\n```json\n{text}\n```\n"


def with_generated(page: str) -> str:
    for name, text in (("codes", table()), ("examples", examples())):
        pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        page, found = pattern.subn(lambda match, text=text: f"{match[1]}\n{text}\n{match[2]}", page)
        assert found == 1, f"docs/audit.md has lost the marks around its generated part {name}"
    return page


def test_page_shows_the_registry_as_it_is() -> None:
    page = PAGE.read_text(encoding="utf-8")
    if os.environ.get(WRITE):
        PAGE.write_text(with_generated(page), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == with_generated(page), (
        f"docs/audit.md has fallen behind the registry: run this test once with {WRITE}=1 and commit the page"
    )
