"""How PostgreSQL would run a query by a plan that knows no values, as on the services' connections.

Those read no table whole where there is an index; here that is not taken from it, so that it shows.
"""

from datetime import datetime

import asyncpg


async def plan_of(conn: asyncpg.Connection, text: str, *values: object) -> str:
    await conn.execute("SET plan_cache_mode = force_generic_plan")
    await conn.execute(f"PREPARE asked AS {text}")
    given = f"({', '.join(_literal(value) for value in values)})" if values else ""
    rows = await conn.fetch(f"EXPLAIN EXECUTE asked{given}")
    await conn.execute("DEALLOCATE asked")
    return "\n".join(row[0] for row in rows)


def _literal(value: object) -> str:
    if isinstance(value, list):
        return f"'{{{','.join(str(one) for one in value)}}}'"
    return f"'{value}'" if isinstance(value, str | datetime) else str(value)
