"""How much is tried: all in `make test-more` (JIT_TEST_MORE=1), a part in `make test`, the same each time."""

import os
from collections.abc import Sequence
from typing import Final, TypeVar

MORE: Final = os.environ.get("JIT_TEST_MORE") == "1"
EVERY: Final = 1 if MORE else 4

T = TypeVar("T")


def some(values: Sequence[T]) -> Sequence[T]:
    """Each of them, or each fourth beginning with the first."""
    return values[::EVERY]
