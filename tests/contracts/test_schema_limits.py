"""What the API's document says of bodies is what the rules say: neither more is promised nor less."""

import re
from typing import Any

import pytest

from cli.api import api_document
from services.approval.http.reviews import DecisionBody
from services.provisioner.http.grants import Revocation
from services.ticket.domain.window import LONGEST_REASON
from services.ticket.settings import TicketSettings
from shared.contracts.description import LONGEST_LINK, LONGEST_REFERENCE
from shared.contracts.documents import AccessScope, ApprovalRule, RuleStage
from shared.foundation.errors import Invalid
from shared.http.access import parse_revision
from shared.policy.names import LONGEST
from shared.policy.shape import rule_errors, scope_errors

DOCUMENT = api_document()
SCHEMAS: dict[str, dict[str, Any]] = DOCUMENT["components"]["schemas"]


def field(model: str, name: str) -> dict[str, Any]:
    """A field's schema; of one that may be null, what it is otherwise."""
    found: dict[str, Any] = SCHEMAS[model]["properties"][name]
    given = [one for one in found.get("anyOf", []) if one.get("type") != "null"]
    return found | given[0] if len(given) == 1 else found


@pytest.mark.parametrize(
    ("model", "name", "key", "limit"),
    [
        ("TicketBody", "reason", "minLength", 1),  # the most that holds under any setting
        ("TicketBody", "reason", "maxLength", LONGEST_REASON),
        ("TicketBody", "reference", "maxLength", LONGEST_REFERENCE),
        ("TicketBody", "link", "maxLength", LONGEST_LINK),
        ("TargetBody", "account", "maxLength", LONGEST),
        ("TargetBody", "set", "maxLength", LONGEST),
    ],
)
def test_a_length_is_the_domains(model: str, name: str, key: str, limit: int) -> None:
    assert field(model, name)[key] == limit


def test_the_most_grants_are_stated() -> None:
    most = TicketSettings.model_fields["most_grants"].default
    assert f"at most {most} grants" in field("TicketBody", "targets")["description"]


def scope_fits(**changed: Any) -> bool:
    given = {"subjects": ("group:g",), "accounts": "*", "sets": "*", "effect": "deny"} | changed
    return not scope_errors(AccessScope(id="a", revision=1, name="a", **given))


def rule_fits(subject: str) -> bool:
    stages = (RuleStage(approvers=(subject,)),)
    return not rule_errors(ApprovalRule(id="a", revision=1, name="a", accounts="*", sets="*", stages=stages))


ACCOUNTS = [
    "*", "acct:111111111111", "acct:11111111111", "acct:*", "ou:ou-prod", "ou:", "ou:-", "tag:env=prod",
    "tag:env=", "tag:=prod", "tag:env", "tag:a=b=c", "111111111111", "", "**",
]  # fmt: skip
SETS = ["*", "ps:ps-1", "psg:elevated", "ps:", "psx:a", "ps:a b", "elevated", "ps:a\n"]
SUBJECTS = ["user:u-1", "group:g", "role:admin", "*", "user:", "group:g h", "u-1", "group:g\n"]


def matches(schema: dict[str, Any], text: str) -> bool:
    r"""As JSON Schema reads a pattern: `$` is the very end, which Python spells `\Z`."""
    return re.search(re.sub(r"\$$", r"\\Z", schema["pattern"]), text) is not None


@pytest.mark.parametrize("model", ["ScopeBody", "RuleBody"])
@pytest.mark.parametrize("text", ACCOUNTS)
def test_the_pattern_of_accounts_is_the_rules(model: str, text: str) -> None:
    assert matches(field(model, "accounts"), text) == scope_fits(accounts=text)


@pytest.mark.parametrize("model", ["ScopeBody", "RuleBody"])
@pytest.mark.parametrize("text", SETS)
def test_the_pattern_of_sets_is_the_rules(model: str, text: str) -> None:
    assert matches(field(model, "sets"), text) == scope_fits(sets=text)


@pytest.mark.parametrize("text", SUBJECTS)
def test_the_pattern_of_subjects_is_the_rules(text: str) -> None:
    assert matches(field("ScopeBody", "subjects")["items"], text) == scope_fits(subjects=(text,))
    assert matches(field("StageBody", "approvers")["items"], text) == rule_fits(text)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("catalog=12", True),
        ("catalog=12,rules=3,inventory=40", True),
        ("catalog", False),
        ("nothing=1", False),
        ("catalog=12,", False),
    ],
)
def test_a_revision_may_be_of_several(text: str, *, fits: bool) -> None:
    schema = DOCUMENT["components"]["parameters"]["JitMinRevision"]["schema"]
    assert matches(schema, text) == fits
    if fits:
        parse_revision(text)
    else:
        with pytest.raises(Invalid):
            parse_revision(text)


@pytest.mark.parametrize(
    ("model", "names"),
    [("TargetBody", ["set", "set_group"]), ("Revocation", ["ticket_id", "user_id", "account_id"])],
)
def test_exactly_one_of_them_is_given(model: str, names: list[str]) -> None:
    (said,) = SCHEMAS[model]["allOf"]
    assert [one["required"] for one in said["oneOf"]] == [[name] for name in names]


def test_every_body_has_an_example() -> None:
    asked = {
        media["schema"].get("$ref", "").rsplit("/", 1)[-1]
        or media["schema"]["anyOf"][0]["$ref"].rsplit("/", 1)[-1]
        for item in DOCUMENT["paths"].values()
        for operation in item.values()
        for media in operation.get("requestBody", {}).get("content", {}).values()
    }
    parts = {"StageBody", "TargetBody", "WhyBody"}
    assert {DecisionBody.__name__, Revocation.__name__} <= asked
    silent = {
        name
        for name in asked | parts
        if not any("examples" in one for one in SCHEMAS[name]["properties"].values())
        and "examples" not in SCHEMAS[name]
    }
    assert not silent
