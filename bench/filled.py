"""Databases with very many rows, copied out of one real row of each kind: `service`, then `first` to `last`.

What is new in a copy is what it is found by. Accounts and people are uneven, as they are: one account has a
tenth of all, one person a twentieth, and there are 400 and 1,000 of them.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg

from services.audit.domain.mapping import Product, translate
from shared.contracts import access, approval, notification
from shared.contracts import ticket as tk
from shared.contracts.event import Event
from tests.support.facts import TICKET_ID, example
from tests.support.organisation import P, user_id

RECORDS: Final[Mapping[type[Event], str]] = {
    tk.TicketSubmitted: "ticket",
    approval.ReviewOpened: "approval",
    approval.ReviewStageOpened: "approval",
    notification.NotificationSent: "notifier",
    approval.ReviewDecided: "approval",
    approval.ReviewApproved: "approval",
    tk.TicketApproved: "ticket",
    access.AccessScheduled: "provisioner",
    access.AccessGranted: "provisioner",
    access.AccessRevoked: "provisioner",
}
"""The records of one ticket, with who said them."""

_WORDS: Final = """
    CREATE FUNCTION pg_temp.made(n bigint, part int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
        SELECT substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-7000-8000-' || lpad(to_hex(part), 12, '0')
        FROM (SELECT lpad(to_hex(1750000000000 + n * 1000), 12, '0') AS h) AS hex
    $$;
    CREATE FUNCTION pg_temp.account(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
        SELECT CASE WHEN n % 10 = 0 THEN '111111111111'
            ELSE (500000000000 + hashint8(n)::bigint % 400 + 400)::text END
    $$;
    CREATE FUNCTION pg_temp.person(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
        SELECT CASE WHEN n % 20 = 0 THEN 'user-ann' WHEN n % 20000 = 1 THEN 'user-eve'
            ELSE 'user-' || (hashint8(n)::bigint % 1000 + 1000) END
    $$;
    CREATE FUNCTION pg_temp.state(n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
        SELECT CASE WHEN n % 1000 = 3 THEN 'failed' WHEN n % 20 = 1 THEN 'rejected'
            WHEN n % 20 = 2 THEN 'withdrawn' WHEN n % 400 = 5 THEN 'active' WHEN n % 2000 = 7 THEN 'pending'
            ELSE 'closed' END
    $$;
"""


async def fill(dsn: str, service: str, first: int, last: int) -> None:
    """As an administrator, whom no guard of a table holds up; with statistics, as autovacuum leaves them."""
    conn = await asyncpg.connect(dsn, command_timeout=1800)
    try:
        await conn.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        await conn.execute(_WORDS)
        if service == "audit":
            await _put_kinds(conn)
        for statement in _COPIES[service]:
            await conn.execute(statement, first, last)
        await conn.execute("VACUUM ANALYZE")
    finally:
        await conn.close()


async def _put_kinds(conn: asyncpg.Connection) -> None:
    """A record of each kind, with marks where a copy differs."""
    await conn.execute(
        "CREATE TEMP TABLE kind (part int, source text, code text, actor text, accounts int, parties int,"
        " ocsf text)"
    )
    marks = ((TICKET_ID, "<ticket>"), (P, "<account>"), (user_id("ann"), "<person>"))
    rows = []
    for part, (cls, source) in enumerate(RECORDS.items(), 1):
        made = translate(example(cls), event_id=TICKET_ID, source=source, product=Product("default", "0"))
        ocsf = made.to_bytes(0, made.occurred_at).decode()
        for old, mark in marks:
            ocsf = ocsf.replace(old, mark)
        actor = "<person>" if made.actor_id == user_id("ann") else made.actor_id
        parties, accounts = len(made.party_ids), len(made.account_ids)
        rows.append((part, source, made.code, actor, accounts, parties, ocsf))
    await conn.copy_records_to_table("kind", records=rows)


_AUDIT: Final = (
    """
    INSERT INTO audit_event (sequence, event_id, source, event_code, ticket_id, actor_id, account_ids,
        party_ids, occurred_at, recorded_at, ocsf)
    SELECT at_last, pg_temp.made(n, 1000 + part)::uuid, source, code, pg_temp.made(n, 1),
        CASE actor WHEN '<person>' THEN pg_temp.person(n) ELSE actor END,
        CASE accounts WHEN 1 THEN ARRAY[pg_temp.account(n)] ELSE '{}' END,
        CASE parties WHEN 1 THEN ARRAY[pg_temp.person(n)] ELSE '{}' END,
        at, at + interval '1 second',
        convert_to(replace(replace(replace(replace(ocsf, '<ticket>', pg_temp.made(n, 1)),
            '<account>', pg_temp.account(n)), '<person>', pg_temp.person(n)),
            '"sequence":0', '"sequence":' || at_last), 'UTF8')
    FROM generate_series($1::bigint, $2::bigint) AS n, kind, log_head, LATERAL (
        SELECT timestamptz '2024-01-01 00:00Z' + n * interval '3 minutes' + part * interval '20 s' AS at,
            last_sequence + (n - $1) * 10 + part AS at_last) AS t
    ORDER BY n, part
    """,
    """
    INSERT INTO log_account (account_id, sequence, event_code, actor_id, occurred_at)
    SELECT account_id, sequence, event_code, actor_id, occurred_at
    FROM audit_event, unnest(account_ids) AS account_id
    WHERE sequence > (SELECT last_sequence FROM log_head) AND $1::bigint <= $2::bigint
    """,
    """
    INSERT INTO log_person (user_id, sequence, event_code, actor_id, occurred_at)
    SELECT user_id, sequence, event_code, actor_id, occurred_at
    FROM audit_event, unnest(party_ids || actor_id) AS user_id
    WHERE sequence > (SELECT last_sequence FROM log_head) AND $1::bigint <= $2::bigint
        AND user_id LIKE 'user-%'
    ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO log_hour (hour, first_sequence, last_sequence)
    SELECT date_trunc('hour', occurred_at, 'UTC'), min(sequence), max(sequence) FROM audit_event
    WHERE sequence > (SELECT last_sequence FROM log_head) AND $1::bigint <= $2::bigint GROUP BY 1
    ON CONFLICT (hour) DO UPDATE SET last_sequence = excluded.last_sequence
    """,
    # The clock of a bench stands still: its own readings would stand in one hour, from the first to the last.
    "DELETE FROM log_hour WHERE hour >= '2026-01-01' AND $1::bigint <= $2::bigint",
    "UPDATE log_head SET last_sequence = last_sequence + ($2::bigint - $1::bigint + 1) * 10",
)
_TICKET: Final = (
    """
    INSERT INTO ticket (id, version, state, credentials_until, closed_at, revisions, instance, requester,
        requester_named, beneficiaries, description, submitted_at)
    SELECT pg_temp.made(n, 1)::uuid, 7, pg_temp.state(n), submitted_at + interval '3 hours',
        submitted_at + interval '3 hours', revisions, instance, pg_temp.person(n),
        replace(requester_named::text, 'user-ann', pg_temp.person(n))::jsonb,
        replace(beneficiaries::text, 'user-ann', pg_temp.person(n))::jsonb,
        description || jsonb_build_object('reference', 'INC-' || n), submitted_at
    FROM generate_series($1::bigint, $2::bigint) AS n, (SELECT * FROM ticket ORDER BY id LIMIT 1) AS made
    """,
    """
    INSERT INTO ticket_party (user_id, ticket_id, benefits)
    SELECT pg_temp.person(n), pg_temp.made(n, 1)::uuid, true
    FROM generate_series($1::bigint, $2::bigint) AS n
    """,
    """
    INSERT INTO ticket_target (id, ticket_id, position, account_id, account_name, set_id, set_name, set_group,
        revision)
    SELECT pg_temp.made(n, 2)::uuid, pg_temp.made(n, 1)::uuid, 0, pg_temp.account(n), account_name,
        CASE WHEN n % 7 = 0 THEN 'ps-00000000000000ae' ELSE set_id END, set_name, set_group, 1
    FROM generate_series($1::bigint, $2::bigint) AS n,
        (SELECT * FROM ticket_target ORDER BY id LIMIT 1) AS made
    """,
    """
    INSERT INTO ticket_account (account_id, ticket_id)
    SELECT pg_temp.account(n), pg_temp.made(n, 1)::uuid FROM generate_series($1::bigint, $2::bigint) AS n
    """,
    """
    INSERT INTO ticket_set (set_id, ticket_id)
    SELECT CASE WHEN n % 7 = 0 THEN 'ps-00000000000000ae' ELSE 'ps-00000000000000ad' END,
        pg_temp.made(n, 1)::uuid FROM generate_series($1::bigint, $2::bigint) AS n
    """,
    """
    INSERT INTO target_revision (target_id, revision, subject_id, set_digest, session_duration, asked, reason,
        submitted_at, expires_at, state, approved_window, decided_at)
    SELECT pg_temp.made(n, 2)::uuid, 1, pg_temp.made(n, 3)::uuid, set_digest, session_duration, asked, reason,
        submitted_at, expires_at, 'approved', approved_window, submitted_at
    FROM generate_series($1::bigint, $2::bigint) AS n,
        (SELECT * FROM target_revision ORDER BY target_id LIMIT 1) AS made
    """,
    """
    INSERT INTO ticket_grant (id, ticket_id, target_id, revision, position, instance, beneficiary, account_id,
        set_id, live, ends_at, state, code, detail, granted_at, ended_at, kept_by, already_held,
        credentials_until)
    SELECT pg_temp.made(n, 4)::uuid, pg_temp.made(n, 1)::uuid, pg_temp.made(n, 2)::uuid, 1, 0, instance,
        pg_temp.person(n), pg_temp.account(n), set_id, false, now(), 'revoked', 'expired', '', now(), now(),
        '{}', false, now()
    FROM generate_series($1::bigint, $2::bigint) AS n,
        (SELECT * FROM ticket_grant ORDER BY id LIMIT 1) AS made
    """,
)
_APPROVAL: Final = (
    """
    INSERT INTO review (id, ticket_id, target_id, revision, subject_id, subject_kind, ticket_version,
        requester, account_id, set_id, subject, stages, revisions, state, version, stage, code,
        approved_window, content_hash, opened_at, expires_at, closed_at)
    SELECT pg_temp.made(n, 1), pg_temp.made(n, 2), pg_temp.made(n, 3), 1, pg_temp.made(n, 4), 'target', 1,
        pg_temp.person(n), pg_temp.account(n), set_id,
        replace(replace(subject::text, 'user-ann', pg_temp.person(n)), '111111111111',
            pg_temp.account(n))::jsonb,
        stages, revisions, s.state, 3, stage, CASE s.state WHEN 'rejected' THEN 'rejected' END, NULL,
        CASE s.state WHEN 'approved' THEN 'hash' END, opened_at, expires_at,
        CASE s.state WHEN 'open' THEN NULL ELSE opened_at END
    FROM generate_series($1::bigint, $2::bigint) AS n,
        (SELECT * FROM review ORDER BY id DESC LIMIT 1) AS made,
        LATERAL (SELECT CASE WHEN n % 1000 = 0 THEN 'open' WHEN n % 20 = 1 THEN 'rejected'
            WHEN n % 2000 = 3 THEN 'voided' ELSE 'approved' END AS state) AS s
    """,
    """
    INSERT INTO review_person (user_id, review_id, waits, state)
    SELECT user_id, id, user_id <> requester AND state = 'open', state
    FROM review, unnest(CASE account_id
        WHEN '111111111111' THEN ARRAY[requester, 'user-carl', 'user-cora']
        ELSE ARRAY[requester, 'user-of-others', 'user-of-all'] END) AS user_id
    WHERE id >= pg_temp.made($1::bigint, 0) AND id <= pg_temp.made($2::bigint, 9)
    """,
)
_PROVISIONER: Final = (
    """
    INSERT INTO claim (id, assignment_id, instance, ticket_id, target_id, revision, subject_id, user_id,
        account_id, set_id, set_digest, content_hash, session_duration, starts_at, ends_at, state,
        received_at)
    SELECT pg_temp.made(n, 1), n, 'default', pg_temp.made(n, 2), pg_temp.made(n, 3), 1, pg_temp.made(n, 4),
        pg_temp.person(n), pg_temp.account(n), 'ps-00000000000000ad', 'digest', 'hash', interval '1 hour',
        now(), now() + interval '1 hour',
        CASE WHEN n % 400 = 5 THEN 'active' WHEN n % 1000 = 3 THEN 'failed' ELSE 'revoked' END, now()
    FROM generate_series($1::bigint, $2::bigint) AS n
    """,
)
_NOTIFIER: Final = (
    """
    INSERT INTO notice (id, event_id, ticket_id, type, fact, held, happened_at, received_at)
    SELECT pg_temp.made(n, 1)::uuid, pg_temp.made(n, 2)::uuid, pg_temp.made(n, 3), 'ticket.approved.v1',
        '{}', false, now(), now() FROM generate_series($1::bigint, $2::bigint) AS n
    """,
    """
    INSERT INTO delivery (id, ticket_id, template, recipient, message_id, happened_at, state, next_attempt_at,
        give_up_at, created_at)
    SELECT pg_temp.made(n, 4)::uuid, pg_temp.made(n, 3), 'approved', pg_temp.person(n), 'message', now(),
        CASE WHEN n % 1000 = 3 THEN 'failed' ELSE 'sent' END, now(), now(), now()
    FROM generate_series($1::bigint, $2::bigint) AS n
    """,
    """
    INSERT INTO delivery_notice (notice_id, recipient, delivery_id)
    SELECT pg_temp.made(n, 1)::uuid, pg_temp.person(n), pg_temp.made(n, 4)::uuid
    FROM generate_series($1::bigint, $2::bigint) AS n
    """,
)
_COPIES: Final[Mapping[str, Sequence[str]]] = {
    "audit": _AUDIT,
    "ticket": _TICKET,
    "approval": _APPROVAL,
    "provisioner": _PROVISIONER,
    "notifier": _NOTIFIER,
}
