"""What follows a commit follows it, and nothing follows a rollback."""

import pytest

from shared.contracts.change import Alert
from shared.database.pool import Pool
from shared.database.unit_of_work import unit_of_work
from shared.foundation.clock import ManualClock
from shared.observability.alerts import Alerts
from tests.support.corridor import effects
from tests.support.harness import NOW

ALERT = Alert("word/1", "something happened", "to one thing")


class Broken(Exception):
    pass


@pytest.fixture
def alerts() -> Alerts:
    return Alerts(service="ticket", clock=ManualClock(NOW), channels=[])


async def rows(pool: Pool) -> int:
    return len(await effects(pool))


async def test_commit_runs_each_hook_once_and_raises_the_alerts(pool: Pool, alerts: Alerts) -> None:
    seen: list[int] = []
    async with unit_of_work(pool, alerts) as work:
        await work.conn.execute("INSERT INTO effect (key, number) VALUES ('k', 1)")
        assert await rows(pool) == 0

        def hook() -> None:
            seen.append(1)

        work.after_commit(hook)
        work.after_commit(hook)
        work.alert(ALERT)
        assert not seen
        assert not alerts.active
    assert seen == [1]
    assert [alert.key for alert in alerts.active] == [ALERT.key]
    assert await rows(pool) == 1


async def test_commit_clears_the_alerts_whose_causes_are_gone_and_a_rollback_does_not(
    pool: Pool, alerts: Alerts
) -> None:
    await alerts.raise_alert(key=ALERT.key, summary=ALERT.summary, detail=ALERT.detail)

    async def fail() -> None:
        async with unit_of_work(pool, alerts) as work:
            work.clear(ALERT.key)
            raise Broken

    with pytest.raises(Broken):
        await fail()
    assert [alert.key for alert in alerts.active] == [ALERT.key]
    async with unit_of_work(pool, alerts) as work:
        work.clear(ALERT.key)
        assert alerts.active
    assert not alerts.active


async def test_rollback_forgets_hooks_alerts_and_rows(pool: Pool, alerts: Alerts) -> None:
    seen: list[int] = []

    async def fail() -> None:
        async with unit_of_work(pool, alerts) as work:
            await work.conn.execute("INSERT INTO effect (key, number) VALUES ('k', 1)")
            work.after_commit(lambda: seen.append(1))
            work.alert(ALERT)
            raise Broken

    with pytest.raises(Broken):
        await fail()
    assert not seen
    assert not alerts.active
    assert await rows(pool) == 0
