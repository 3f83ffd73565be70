"""What the watch tells operations: a head that does not move, documents left out, copies out of date."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from shared.contracts.documents import AccessScope
from shared.database.pool import Pool
from shared.foundation.clock import ManualClock
from shared.messaging import outbox
from shared.runtime.service import Parts, Process, Service
from shared.runtime.watch import Watch
from tests.support import organisation
from tests.support.corridor import fact, settings_for
from tests.support.harness import NOW, mark, ready_tables
from tests.support.units import unit


class Tower:
    """A service that is not started, and its watch, on a manual clock."""

    def __init__(self, dsn: str, pool: Pool) -> None:
        self.clock = ManualClock(NOW)
        self.tables = ready_tables(self.clock)
        self.service = Service("ticket", settings_for(dsn), Parts(), process=Process(self.clock, self.tables))
        self.service.context.set_pool(pool)
        self.watch = Watch(self.service.context, self.service.relay, self.service.consumer, tables=True)

    async def look(self) -> list[str]:
        """Look once; the keys of the alerts that stand then."""
        await self.watch.look()
        return [alert.key for alert in self.service.context.alerts.active]


@pytest.fixture
def tower(dsn: str, pool: Pool) -> Iterator[Tower]:
    found = Tower(dsn, pool)
    yield found
    found.service.context.set_pool(None)


async def test_nothing_wrong_raises_nothing(tower: Tower) -> None:
    assert await tower.look() == []


async def test_an_outbox_whose_head_does_not_move_is_stuck_until_it_does(tower: Tower, pool: Pool) -> None:
    async with unit(pool) as work:
        outbox.append(work, "ticket", fact("k", 1, at=NOW))
    assert await tower.look() == []
    tower.clock.advance(timedelta(seconds=31))
    assert await tower.look() == ["relay_stuck"]
    (alert,) = tower.service.context.alerts.active
    assert "1 waiting, the oldest for 31 s" in alert.detail
    await pool.execute("UPDATE outbox SET sent_at = $1", NOW)
    assert await tower.look() == []


async def test_a_replay_of_old_rows_that_moves_is_not_stuck(tower: Tower, pool: Pool) -> None:
    async with unit(pool) as work:
        for number in range(3):
            outbox.append(work, "ticket", fact("k", number, at=NOW - timedelta(days=3)))
    for _ in range(3):
        assert await tower.look() == []
        await pool.execute(
            "UPDATE outbox SET sent_at = $1 WHERE id = (SELECT min(id) FROM outbox WHERE sent_at IS NULL)",
            NOW,
        )


async def test_a_record_left_out_of_the_tables_is_told_once(tower: Tower) -> None:
    tower.tables.left_out["jit.rules.v1/0/7"] = "ce_source is 'ticket'"
    assert await tower.look() == ["tables/jit.rules.v1/0/7"]
    await tower.service.context.alerts.send_due()
    assert await tower.look() == []


async def test_tables_that_do_not_become_ready_are_told_after_a_minute(tower: Tower) -> None:
    copy = tower.tables.policy._copies["approval"]
    copy.verified = False
    assert await tower.look() == []
    tower.clock.advance(timedelta(seconds=59))
    assert await tower.look() == []
    tower.clock.advance(timedelta(seconds=1))
    assert await tower.look() == ["tables_unready"]
    (alert,) = tower.service.context.alerts.active
    assert "waits for approval" in alert.detail
    copy.verified = True
    assert await tower.look() == []
    copy.verified = False
    assert await tower.look() == []


async def test_stale_tables_are_told_until_they_are_fresh(tower: Tower) -> None:
    tower.tables.policy._stale_after = timedelta(seconds=60)
    tower.clock.advance(timedelta(seconds=61))
    assert await tower.look() == ["tables_stale"]
    for owner, documents in organisation.everything().items():
        mark(tower.tables.policy, owner, documents, at=tower.clock.now())
    assert await tower.look() == []


async def test_a_document_the_policy_refuses_is_told_until_it_is_mended(tower: Tower) -> None:
    good = next(one for one in tower.tables.policy.known().all(AccessScope) if one.id == "dev-admin")
    bad = good.model_copy(update={"subjects": ("nonsense",), "revision": 900})
    tower.tables.policy.take("ticket", bad)
    assert tower.tables.policy.refused
    assert await tower.look() == ["tables_refused"]
    tower.tables.policy.take("ticket", good.model_copy(update={"revision": 901}))
    assert await tower.look() == []
