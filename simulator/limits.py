"""AWS's rate limit: one token bucket per service, filled by the clock that is passed in."""

from dataclasses import dataclass

_WHOLE = 1 - 1e-4
"""A token; epoch seconds as floats leave no more than microseconds to count with."""


@dataclass(slots=True)
class TokenBucket:
    """Holds at most one second's worth of tokens, as AWS's limit of 20 calls per second does."""

    per_second: float
    tokens: float
    filled_at: float

    def take(self, now: float) -> bool:
        """Take a token; False when there is none. A refused call costs nothing."""
        refilled = self.tokens + (now - self.filled_at) * self.per_second
        self.tokens = min(max(1.0, self.per_second), refilled)
        self.filled_at = now
        if self.tokens < _WHOLE:
            return False
        self.tokens -= 1
        return True


class RateLimits:
    def __init__(self) -> None:
        self._buckets: dict[str, TokenBucket] = {}

    def allow(self, service: str, *, per_second: float, now: float) -> bool:
        """Whether a call to `service` is within its limit; `per_second` 0 is no limit."""
        if not per_second:
            return True
        bucket = self._buckets.get(service)
        if bucket is None or bucket.per_second != per_second:
            bucket = self._buckets[service] = TokenBucket(per_second, max(1.0, per_second), now)
        return bucket.take(now)
