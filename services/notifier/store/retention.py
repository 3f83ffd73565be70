"""How long mails, and what they were about, are kept: rules for shared/database/retention.py.

Mails answer "was I told?" for a quarter of a year; who asks later asks the audit log.
"""

from datetime import timedelta
from typing import Final

from shared.database.retention import Rule

KEEP: Final = timedelta(days=90)
"""Longer than a fact can be replayed, so that nobody is mailed about it twice."""

# A pending mail is never old.
_DELIVERIES: Final = """
    DELETE FROM delivery WHERE id IN (
        SELECT id FROM delivery WHERE state <> 'pending' AND settled_at < $1
        ORDER BY settled_at, id LIMIT $2 FOR UPDATE
    )
"""
# Nor is what a mail is still about, or what waits for its ticket.
_NOTICES: Final = """
    DELETE FROM notice WHERE id IN (
        SELECT n.id FROM notice n
        WHERE n.received_at < $1 AND (NOT n.held OR n.overdue)
            AND NOT EXISTS (SELECT FROM delivery_notice d WHERE d.notice_id = n.id)
        ORDER BY n.received_at, n.id LIMIT $2 FOR UPDATE OF n
    )
"""
_TICKETS: Final = """
    DELETE FROM known_ticket WHERE id IN (
        SELECT id FROM known_ticket WHERE needed_until < $1 AND learned_at < $1
        ORDER BY needed_until, id LIMIT $2 FOR UPDATE
    )
"""

RULES: Final = (
    Rule("delivery", KEEP, _DELIVERIES),
    Rule("notice", KEEP, _NOTICES),
    Rule("known_ticket", KEEP, _TICKETS),
)
