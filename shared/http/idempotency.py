"""`Idempotency-Key`: the same request sent twice has one effect and one answer, per caller.

The key is claimed in the command's own transaction, so that key and effect commit together. A second
request with the same key waits for the first and gets its answer; with another body it is refused.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.database.pool import Conn
from shared.foundation.errors import Conflict, Invalid

LONGEST = 255


@dataclass(frozen=True)
class RequestKey:
    """A caller's name for one request, with a digest of what was asked."""

    caller: str
    key: str
    request_hash: str

    @classmethod
    def of(cls, *, caller: str, key: str, method: str, path: str, body: bytes) -> "RequestKey":
        if not 1 <= len(key) <= LONGEST or not key.isprintable():
            raise Invalid(
                f"Idempotency-Key must be 1 to {LONGEST} printable characters; a UUID is a good choice",
                code="idempotency_key_invalid",
            )
        digest = hashlib.sha256(b"\n".join([method.encode(), path.encode(), body])).hexdigest()
        return cls(caller, key, digest)


@dataclass(frozen=True)
class StoredAnswer:
    """A response as it is stored and repeated: status, JSON body, headers."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


async def once(
    conn: Conn, key: RequestKey | None, action: Callable[[], Awaitable[StoredAnswer]], *, now: datetime
) -> StoredAnswer:
    """Run `action` in the caller's transaction, or return what it answered the first time."""
    if key is None:
        return await action()
    claimed = await conn.fetchval(
        """
        INSERT INTO idempotency_key (caller, key, request_hash, created_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING RETURNING key
        """,
        key.caller,
        key.key,
        key.request_hash,
        now,
    )
    if claimed is None:
        return await _stored(conn, key)
    answer = await action()
    await conn.execute(
        "UPDATE idempotency_key SET status = $3, body = $4, headers = $5 WHERE caller = $1 AND key = $2",
        key.caller,
        key.key,
        answer.status,
        answer.body,
        answer.headers,
    )
    return answer


async def answered(conn: Conn, key: RequestKey | None) -> StoredAnswer | None:
    """What the request of this key was answered; None when it was not made, or is still being made."""
    if key is None:
        return None
    known = await conn.fetchval(
        "SELECT 1 FROM idempotency_key WHERE caller = $1 AND key = $2", key.caller, key.key
    )
    return None if known is None else await _stored(conn, key)


async def _stored(conn: Conn, key: RequestKey) -> StoredAnswer:
    row = await conn.fetchrow(
        "SELECT request_hash, status, body, headers FROM idempotency_key WHERE caller = $1 AND key = $2",
        key.caller,
        key.key,
    )
    if row is None or row["request_hash"] != key.request_hash:
        raise Conflict(
            "this Idempotency-Key was used for a different request; use a new key for a new request",
            code="idempotency_key_reused",
        )
    return StoredAnswer(row["status"], row["body"], {**row["headers"], "Idempotency-Replayed": "true"})
