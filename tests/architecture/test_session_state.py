"""The pool resets nothing when a connection comes back: no statement may leave anything in its session."""

import re

import pytest

from tests.support.pages import ROOT

STAYS = re.compile(
    r"""["'](SET (?!LOCAL )\w+ (=|TO)|SET ROLE|LISTEN |CREATE TEMP|DECLARE )|pg_(try_)?advisory_lock\("""
)
OWN_CONNECTION = {"shared/database/schema.py", "shared/database/migrate.py", "shared/messaging/relay.py"}
"""They connect for themselves, and close."""
FILES = sorted(path for folder in ("services", "shared") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("text", ['"SET timezone = 1"', "'LISTEN x'", "pg_advisory_lock($1)", '"SET ROLE x"'])
def test_what_stays_in_a_session_is_recognised(text: str) -> None:
    assert STAYS.search(text)


def test_no_statement_on_a_pooled_connection_outlives_its_transaction() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in FILES if STAYS.search(path.read_text())}
    assert found == OWN_CONNECTION
