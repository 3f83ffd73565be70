"""What it looks like when the database is not there, for loops that go on when it is back."""

from typing import Final

import asyncpg

from shared.foundation.errors import NotReady

DATABASE_AWAY: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, NotReady)
"""A statement that was refused is in here too: the loops log it, wait a moment and do all of it again."""
