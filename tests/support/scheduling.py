"""Which process runs which tests: a file's stay together, and so do all that need the running services.

They are most of the suite's waiting, and a second stack would cost what the first one does.
"""

from xdist.scheduler import LoadFileScheduling

RUNNING = "tests/e2e/"


class Scheduling(LoadFileScheduling):  # type: ignore[misc]
    """One unit of work per file, and one for all end-to-end tests."""

    def _split_scope(self, nodeid: str) -> str:
        return RUNNING if nodeid.startswith(RUNNING) else super()._split_scope(nodeid)
