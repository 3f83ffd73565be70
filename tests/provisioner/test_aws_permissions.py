import json
import re
from pathlib import Path
from typing import Any

from services.provisioner.identity_center import api_operations
from services.provisioner.identity_center.api_operations import OPERATIONS, ApiOperation

PERMISSIONS = Path(__file__).parents[2] / "docs" / "aws-permissions.md"


def _documented(heading: str) -> list[dict[str, Any]]:
    text = PERMISSIONS.read_text(encoding="utf-8")
    found = re.search(rf"^## {heading}$.*?```json\n(.*?)```", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/aws-permissions.md has no policy under '## {heading}'"
    statements: list[dict[str, Any]] = json.loads(found[1])["Statement"]
    return statements


def _actions(statements: list[dict[str, Any]]) -> set[str]:
    return {action for statement in statements for action in statement["Action"]}


def test_documented_policies_allow_exactly_what_the_adapter_calls() -> None:
    reading = {operation.action for operation in OPERATIONS if not operation.mutating}
    changing = {operation.action for operation in OPERATIONS if operation.mutating}
    advice = "change docs/aws-permissions.md with identity_center/api_operations.py"
    assert _actions(_documented("Reader")) == reading, advice
    assert _actions(_documented("Provisioner")) == reading | changing, advice


def test_documented_provisioner_changes_tagged_sets_only() -> None:
    for statement in _documented("Provisioner"):
        if "sso:CreateAccountAssignment" in statement["Action"]:
            over_sets = any("permissionSet" in arn for arn in statement["Resource"])
            assert over_sets == ("Condition" in statement)


def test_table_of_operations_is_complete() -> None:
    named = {value for value in vars(api_operations).values() if isinstance(value, ApiOperation)}
    assert named == set(OPERATIONS), "every operation that has a name here belongs into OPERATIONS"
