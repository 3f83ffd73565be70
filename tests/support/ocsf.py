"""The compiled OCSF 1.8.0 schemas, where they are beside the repository or JIT_TEST_SHARED names them.

They are not part of the project: without them tests that validate are skipped, with a line that says so.
"""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

_ROOT = Path(__file__).resolve().parents[2]


def schema_folder() -> Path:
    """The folder of the schemas; skips the test where there is none."""
    shared = Path(os.environ.get("JIT_TEST_SHARED") or _ROOT.parent / "shared")
    folder = shared / "ocsf"
    if not any(folder.glob("1.8.0_*.json")):
        pytest.skip("no OCSF schemas: put them into ../shared/ocsf, or let JIT_TEST_SHARED name their parent")
    return folder


@cache
def _schemas(folder: Path) -> dict[int, dict[str, Any]]:
    schemas = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("1.8.0_*.json")]
    return {schema["properties"]["class_uid"]["enum"][0]: schema for schema in schemas}


@cache
def _validators(folder: Path) -> dict[int, jsonschema_rs.Draft202012Validator]:
    return {uid: jsonschema_rs.Draft202012Validator(schema) for uid, schema in _schemas(folder).items()}


def schema_of(class_uid: int) -> dict[str, Any]:
    return _schemas(schema_folder())[class_uid]


def problems(event: dict[str, Any], *, class_uid: int | None = None) -> list[str]:
    """What the schema of a class has against the event; of the class it names unless one is given."""
    validator = _validators(schema_folder())[class_uid or event["class_uid"]]
    return [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(event)]
