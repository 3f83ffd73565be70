"""How often one caller, or one address, may do something: a bucket of tokens for each, of bounded number.

Knows nothing of HTTP and reads no clock. Asked by shared/http/admission.py.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

MOST_BUCKETS: Final = 10_000
"""Some 3 MB. More addresses than that at once are a flood, and whoever is forgotten starts anew."""
_NOTHING: Final = timedelta(0)


@dataclass(frozen=True)
class Rate:
    """So many a second for ever, and so many at once after a rest."""

    per_second: float
    at_once: int


class Buckets:
    """A bucket for each key, kept as the moment at which it will be full again.

    A full bucket holds nothing worth keeping: beyond `most`, those asked for longest ago are forgotten.
    """

    def __init__(self, rate: Rate, *, most: int = MOST_BUCKETS) -> None:
        self._one = timedelta(seconds=1 / rate.per_second)
        self._whole = self._one * rate.at_once
        self._most = most
        self._full_at: OrderedDict[Hashable, datetime] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: Hashable, now: datetime) -> timedelta | None:
        """Take one; None when there was one, else the time until there is. A refusal takes nothing."""
        full_at = max(self._full_at.get(key, now), now) + self._one
        wait = full_at - self._whole - now
        if wait <= _NOTHING:
            self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
        return wait if wait > _NOTHING else None
