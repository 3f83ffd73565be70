"""docs/retention.md has a row for every table there is, and every rule is in it."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from services.approval.store import retention as approval
from services.notifier.store import retention as notifier
from services.provisioner.store import retention as provisioner
from services.ticket.store import retention as ticket
from shared.database.migrate import SERVICES
from shared.database.retention import Rule
from shared.messaging import retention as messaging
from tests.support.harness import service_database
from tests.support.pages import ROOT, read

KEEP = timedelta(days=400)
RULES: dict[str, tuple[Rule, ...]] = {
    "shared/messaging/retention.py": messaging.RULES,
    "services/ticket/store/retention.py": ticket.rules(keep=KEEP),
    "services/approval/store/retention.py": approval.rules(keep=KEEP),
    "services/provisioner/store/retention.py": provisioner.rules(keep=KEEP),
    "services/notifier/store/retention.py": notifier.RULES,
}
ROWS = [
    tuple(cell.strip() for cell in line.strip("|\n").split("|"))
    for line in read(ROOT / "docs" / "retention.md").splitlines()
    if re.match(r"\| (each|\w+) \| `", line)
]
"""Service, table, what it holds, about people, how long, deleted by."""


def tables_of(service: str) -> list[str]:
    return sorted(table.strip("`") for whose, table, *_ in ROWS if whose in {service, "each"})


@pytest.fixture(params=SERVICES)
async def schema(
    admin_dsn: str, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    async with service_database(admin_dsn, request.param) as dsn:
        conn = await asyncpg.connect(admin_dsn, database=dsn.rsplit("/", 1)[1])
        yield request.param, conn
        await conn.close()


async def test_every_table_has_a_row_and_every_row_a_table(schema: tuple[str, asyncpg.Connection]) -> None:
    service, conn = schema
    rows = await conn.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    )
    assert tables_of(service) == sorted(row["relname"] for row in rows), (
        f"docs/retention.md: say how long {service} keeps each of its tables, and what deletes from it"
    )


async def test_what_goes_with_another_table_does_so_by_the_database(
    schema: tuple[str, asyncpg.Connection],
) -> None:
    service, conn = schema
    said = {
        (table.strip("`"), match[1])
        for whose, table, *_, by in ROWS
        if whose == service and (match := re.fullmatch(r"with `(\w+)`", by))
    }
    rows = await conn.fetch(
        """
        WITH RECURSIVE goes (thing, with_thing) AS (
            SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
            WHERE confdeltype = 'c'
            UNION
            SELECT goes.thing, confrelid::regclass::text FROM goes
            JOIN pg_constraint ON conrelid::regclass::text = goes.with_thing AND confdeltype = 'c'
        )
        SELECT thing, with_thing FROM goes
        """
    )
    assert said <= {(row["thing"], row["with_thing"]) for row in rows}


def test_every_rule_is_in_the_page_and_every_rule_of_the_page_exists() -> None:
    said = {(row[5].strip("`"), row[1].strip("`")) for row in ROWS if row[5].endswith("retention.py`")}
    assert said == {(path, rule.table) for path, rules in RULES.items() for rule in rules}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_a_row_says_everything(row: tuple[str, ...]) -> None:
    assert len(row) == 6
    assert all(row)
    assert row[3] in {"yes", "yes (ids)", "no"}
    by = row[5]
    assert re.fullmatch(r"with `\w+`|nothing|the deletion itself", by) or (ROOT / by.strip("`")).exists()
