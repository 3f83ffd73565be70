"""Accesses that AWS really has and that end at a given moment, put past the services: for bench/expiry.py."""

import random
from datetime import datetime

from shared.database.pool import Conn, Pool
from simulator.controls import Controls
from simulator.model import Assignment


class Ending:
    """Another person and another account each time, as long as there are some."""

    def __init__(self, aws: Controls, dice: random.Random) -> None:
        self._aws = aws
        self._arn = aws.directory.find_set("ReadOnly").arn
        self._users = sorted(user.id for user in aws.directory.users.values() if user.enabled)
        self._accounts = sorted(one.id for one in aws.directory.accounts.values() if one.state == "ACTIVE")
        dice.shuffle(self._accounts)
        self._number = 0

    def next(self) -> tuple[str, str]:
        """User and account; after the number of accounts times that of users they come again."""
        number, self._number = self._number, self._number + 1
        shift = number // len(self._users)
        return self._users[number % len(self._users)], self._accounts[(number + shift) % len(self._accounts)]

    async def put(self, database: Pool | Conn, user: str, account: str, ends_at: datetime) -> None:
        """The assignment at AWS, its row, and the active claim on it. Raises where there was such a row."""
        row = Assignment(account=account, permission_set=self._arn, principal_type="USER", principal=user)
        assignment_id = await database.fetchval(
            """
            INSERT INTO assignment (instance, user_id, account_id, set_id, set_arn, desired, observed,
                ours)
            VALUES ('default', $1, $2, 'ps-bench', $3, 'present', 'present', true) RETURNING id
            """,
            user,
            account,
            self._arn,
        )
        self._aws.world.put_directly(row, now=self._aws.clock.now(), cause="bench")
        await database.execute(
            """
            INSERT INTO claim (id, assignment_id, instance, ticket_id, target_id, revision, subject_id,
                user_id, account_id, set_id, set_digest, content_hash, session_duration, starts_at, ends_at,
                state, received_at, granted_at)
            VALUES ('end-' || $1::bigint::text, $1, 'default', 'ticket', 'target', 1, 'subject', $2, $3,
                'ps-bench', 'd', 'h', interval '1 hour', $4::timestamptz - interval '1 hour', $4, 'active',
                $4, $4::timestamptz - interval '1 hour')
            """,
            assignment_id,
            user,
            account,
            ends_at,
        )
