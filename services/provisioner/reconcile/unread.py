"""Alerts for assignments that cannot be read: grants wait and revokes are not verified meanwhile."""

from typing import Final

from services.provisioner.domain.assignments import Assignment
from services.provisioner.driver import DriverError
from shared.observability.alerts import Alerts

UNREAD_BEFORE_ALERT: Final = 5
"""With the pauses between them some fifteen seconds: longer than AWS's passing troubles."""


class Unread:
    """How often in a row AWS could not be read for an assignment; forgotten with the process."""

    def __init__(self) -> None:
        self._times: dict[int, int] = {}

    async def failed(self, alerts: Alerts, row: Assignment, error: DriverError) -> None:
        times = self._times[row.id] = self._times.get(row.id, 0) + 1
        if times < UNREAD_BEFORE_ALERT:
            return
        await alerts.raise_alert(
            key=f"unreadable/{row.id}",
            summary="AWS cannot be read for an assignment: nothing is granted or verified gone there",
            detail=f"user {row.user_id}, account {row.account_id}, set {row.set_id}: {times} times in a row, "
            f"at last {error}",
        )

    async def succeeded(self, alerts: Alerts, row: Assignment) -> None:
        """It could be read: the alert is over."""
        if self._times.pop(row.id, 0) >= UNREAD_BEFORE_ALERT:
            await alerts.clear(f"unreadable/{row.id}")
