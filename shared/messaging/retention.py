"""How long what every service has for messages and requests is kept: rules for shared/database/retention.py.

A record may come again for as long as a topic keeps it and an outbox can replay it: 30 days. What tells that
it has come before outlives that.
"""

from datetime import timedelta
from typing import Final

from shared.contracts import topics
from shared.contracts.stop import AFTERWARDS
from shared.database.retention import Rule
from shared.messaging.outbox import MARKER_TYPE

KEEP_SENT: Final = timedelta(days=30)
"""But for stops: until the last window that one can meet has ended, and then as long as readers remember it,
so that a reader that lost its own can have them sent again."""
KEEP_INBOX: Final = timedelta(days=45)
KEEP_IDEMPOTENCY: Final = timedelta(days=7)
KEEP_MARKERS: Final = timedelta(days=1)
"""One is written every ten seconds by each replica, and only the newest says anything."""
KEEP_LETTERS: Final = timedelta(days=90)
"""Dealt with or not: after that what it was about is over, and nothing around it can be replayed any more."""

_SENT: Final = """
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox WHERE sent_at IS NOT NULL AND created_at < $1 AND topic <> $3
        ORDER BY created_at, id LIMIT $2 FOR UPDATE
    )
"""
# Of CASE's condition the body is read only where it holds. A stop that names no end is kept.
_STOPS: Final = """
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox WHERE sent_at IS NOT NULL AND created_at < $1 AND CASE WHEN topic = $3
            THEN (convert_from(payload, 'UTF8')::json ->> 'ends_by')::timestamptz < $1 END
        ORDER BY created_at, id LIMIT $2 FOR UPDATE
    )
"""
_MARKERS: Final = """
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox WHERE sent_at IS NOT NULL AND type = $3 AND created_at < $1
        ORDER BY created_at, id LIMIT $2 FOR UPDATE
    )
"""
_INBOX: Final = """
    DELETE FROM inbox WHERE (event_id, source) IN (
        SELECT event_id, source FROM inbox WHERE received_at < $1
        ORDER BY received_at, event_id LIMIT $2 FOR UPDATE
    )
"""
_IDEMPOTENCY: Final = """
    DELETE FROM idempotency_key WHERE (caller, key) IN (
        SELECT caller, key FROM idempotency_key WHERE created_at < $1
        ORDER BY created_at, key LIMIT $2 FOR UPDATE
    )
"""
_LETTERS: Final = """
    DELETE FROM dead_letter WHERE id IN (
        SELECT id FROM dead_letter WHERE parked_at < $1 ORDER BY parked_at, id LIMIT $2 FOR UPDATE
    )
"""

RULES: Final = (
    Rule("outbox", KEEP_SENT, _SENT, given=(topics.STOP,)),
    Rule("outbox", AFTERWARDS, _STOPS, given=(topics.STOP,)),
    Rule("outbox", KEEP_MARKERS, _MARKERS, given=(MARKER_TYPE,)),
    Rule("inbox", KEEP_INBOX, _INBOX),
    Rule("idempotency_key", KEEP_IDEMPOTENCY, _IDEMPOTENCY),
    Rule("dead_letter", KEEP_LETTERS, _LETTERS, batch=500),
)
"""A dead letter may be a megabyte."""
