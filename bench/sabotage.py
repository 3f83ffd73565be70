"""Services with a fault put in on purpose, to show that the judge of bench/day.py fails on it.

`python -m bench.sabotage FAULT serve SERVICE` runs one service like `jit serve`, with one thing broken.
Never imported by anything else.
"""

import sys
from typing import Any

from cli.main import main
from shared import relay

LOST_EVERY = 7


def lose_events() -> None:
    """Every so many events are marked as sent without being sent."""
    original = relay.Relay._send_batch  # noqa: SLF001
    count = 0

    async def losing(self: Any, conn: Any, producer: Any) -> int:
        nonlocal count
        rows = await conn.fetch("SELECT id FROM outbox WHERE sent_at IS NULL AND type NOT LIKE 'document.%'")
        for row in rows:
            count += 1
            if count % LOST_EVERY == 0:
                await conn.execute("UPDATE outbox SET sent_at = now() WHERE id = $1", row["id"])
        return await original(self, conn, producer)

    relay.Relay._send_batch = losing  # type: ignore[method-assign]  # noqa: SLF001


FAULTS = {"lost-event": lose_events}


if __name__ == "__main__":
    FAULTS[sys.argv[1]]()
    del sys.argv[1]
    main()
