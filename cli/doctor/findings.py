"""What a check finds: well, doubtful or wrong, with what to do. Nothing secret is ever in it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final


class Grade(StrEnum):
    OK = "ok"
    WARN = "warn"
    """It works, and not as it should."""
    FAIL = "fail"
    """Something will not work."""


_CODES: Final = {Grade.OK: 0, Grade.WARN: 1, Grade.FAIL: 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line."""

    grade: Grade
    check: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        """In one line, whatever a server said."""
        todo = f" -> {self.remedy}" if self.remedy else ""
        return " ".join(f"{self.grade:4} {self.check}: {self.found}{todo}".split())

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def ok(check: str, found: str) -> Finding:
    return Finding(Grade.OK, check, found)


def warn(check: str, found: str, remedy: str) -> Finding:
    return Finding(Grade.WARN, check, found, remedy)


def fail(check: str, found: str, remedy: str) -> Finding:
    return Finding(Grade.FAIL, check, found, remedy)


def exit_code(findings: Iterable[Finding]) -> int:
    """That of the worst of them."""
    return max((_CODES[one.grade] for one in findings), default=0)
