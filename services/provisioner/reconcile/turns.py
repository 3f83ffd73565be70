"""Whose turn it is with AWS among what is due: revokes first, then who has waited longest. Four exceptions.

What is next on an account and set that is just worked on goes before what has not waited much longer: the
list that was read there serves it too. So, and before that, does what is next on an account where more wait
than its share: AWS works on one at a time there, and at the last they would wait for each other beside idle
slots. A look waits a moment for others of its kind. And a creation that has waited long gets one slot though
ends wait, so that no storm of ends keeps all of them out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from services.provisioner.domain.assignments import CallKind
from services.provisioner.limits import Slot, Slots
from services.provisioner.reconcile.reads import KEPT_FOR
from services.provisioner.store.schedule import Due

GATHERED_FOR: Final = timedelta(seconds=8)
"""A look waits so long at most for operations on its account and set, to share the list with their looks:
for as long as two take until it is seen that they have ended."""
FAIR_AFTER: Final = timedelta(seconds=30)
"""A creation that has waited so long for a slot has the next one, if no other creation has any."""
LOOKED_AHEAD: Final = 5
"""For so many of the next of either kind AWS is read before there is a slot."""
LOOKS_WITHIN_S: Final = 0.5
"""However many looks are due together."""


class Turns:
    """Remembers what waits and what was just worked on; what a process forgets costs some calls."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._waiting: dict[int, datetime] = {}
        self._worked_on: dict[tuple[str, str], datetime] = {}
        self._looked: dict[int, datetime] = {}
        self._passed_over: Counter[CallKind | None] = Counter()
        """How many of what is due got no slot in this round, by call."""
        self._gave_slots = False
        self._crowded: set[tuple[CallKind, str]] = set()
        """By kind, the accounts where more wait than one after the other can end with the rest."""
        self._looks_since: dict[tuple[str, str], datetime] = {}
        """By account and set, since when the first of its looks is due."""

    def in_order(self, due: Sequence[Due], now: datetime) -> list[Due]:
        """What may begin now. `due` is in the order of the database: ends first, the most overdue first."""
        self._forget(due, now)
        self._passed_over.clear()
        self._gave_slots = False
        self._crowded = self._crowded_among(due)
        starved = self._starved(due, now)
        # Looks last: whether they wait for company is known when everything else has begun.
        return sorted(
            due, key=lambda one: (one.only_looks, one is not starved, not one.urgent, self._rank(one))
        )

    def waits_for_company(self, due: Due, now: datetime) -> bool:
        """A look at what somebody is just changing, until that has ended too; all of them together."""
        if not due.only_looks or not self._slots.works_on(*due.pair):
            return False
        return timedelta(0) <= now - self._looks_since.get(due.pair, due.next_at) < GATHERED_FOR

    def slot_for(self, due: Due, kind: CallKind, now: datetime) -> Slot:
        return Slot(due.account_id, due.set_id, kind, since=now, firm=self._is_starved(due, now))

    def began(self, due: Due, now: datetime) -> None:
        """It has a slot."""
        self._gave_slots = True
        self._waiting.pop(due.id, None)
        self._looked.pop(due.id, None)
        self._worked_on[due.pair] = now

    def may_look_ahead(self, due: Due, now: datetime) -> bool:
        """Whether AWS should be read for one that has no slot: to be asked for each of them, in order.

        For the next few, once; not where what was read on its account and set will do, and not in a round
        that gave slots away: who is next on their accounts is only known to the next round.
        """
        self._passed_over[due.call] += 1
        if due.call is None or due.id in self._looked or due.pair in self._worked_on:
            return False
        if self._gave_slots or self._passed_over[due.call] > LOOKED_AHEAD:
            return False
        self._looked[due.id] = now
        return True

    def _rank(self, due: Due) -> datetime:
        """Since when it waits, or seems to."""
        since = self._waiting.get(due.id, due.next_at)
        if due.call is None:
            return since
        crowded, worked_on = (due.call, due.account_id) in self._crowded, due.pair in self._worked_on
        return since - KEPT_FOR * (2 * crowded + worked_on)

    def _crowded_among(self, due: Iterable[Due]) -> set[tuple[CallKind, str]]:
        waiting = Counter((one.call, one.account_id) for one in due if one.call is not None)
        of_all = Counter(one.call for one in due)
        slots: dict[CallKind, int] = {"create": self._slots.for_grants, "delete": self._slots.total}
        return {
            (kind, account)
            for (kind, account), count in waiting.items()
            if count * slots[kind] >= of_all[kind]
        }

    def _starved(self, due: Iterable[Due], now: datetime) -> Due | None:
        waiting = [one for one in due if self._is_starved(one, now)]
        return min(waiting, key=self._rank, default=None)

    def _is_starved(self, due: Due, now: datetime) -> bool:
        since = self._waiting.get(due.id, now)
        if due.call != "create" or self._slots.creating or self._slots.works_in(due.account_id):
            return False
        return now - since >= FAIR_AFTER

    def _forget(self, due: Sequence[Due], now: datetime) -> None:
        """What is not due any more has had its turn, or needs none."""
        self._looks_since = {}
        for one in due:
            if one.only_looks:
                first = self._looks_since.get(one.pair, one.next_at)
                self._looks_since[one.pair] = min(first, one.next_at)
        calls = {one.id: one for one in due if one.call is not None}
        self._waiting = {key: self._waiting.get(key, one.next_at) for key, one in calls.items()}
        self._looked = {key: at for key, at in self._looked.items() if key in calls and now - at < KEPT_FOR}
        self._worked_on = {pair: at for pair, at in self._worked_on.items() if now - at < KEPT_FOR}


def spaced(due: Iterable[Due], *, every_s: float) -> Iterator[tuple[Due, float]]:
    """Each with the seconds after which it begins: looks one after the other, all else at once.

    Else a grant or revoke that comes a moment later queues behind all of the looks that are due by then.
    Those at one account and set begin together, since one list answers them.
    """
    looks: dict[tuple[str, str], float] = {}
    for one in due:
        if one.only_looks:
            yield one, looks.setdefault(one.pair, min(len(looks) * every_s, LOOKS_WITHIN_S))
        else:
            yield one, 0.0
