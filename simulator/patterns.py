r"""AWS's patterns are Java's: this turns those of the service models into Python's.

The difference that matters is \p{L} and its like, which Python's `re` does not know.
"""

import functools
import re
import sys
import unicodedata

_CATEGORY = re.compile(r"\\p\{(\w)\}")
_INLINE_FLAG = re.compile(r"\(\?i\)\(([^()]*)\)")


@functools.cache
def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern for `fullmatch`; Java's String.matches, which AWS uses, is anchored at both ends."""
    return re.compile(_INLINE_FLAG.sub(r"(?i:\1)", _categories_spelled_out(pattern)))


def _categories_spelled_out(pattern: str) -> str:
    parts: list[str] = []
    position = 0
    for match in _CATEGORY.finditer(pattern):
        ranges = _ranges(match[1])
        parts += [
            pattern[position : match.start()],
            ranges if _in_brackets(pattern, match.start()) else f"[{ranges}]",
        ]
        position = match.end()
    return "".join([*parts, pattern[position:]])


def _in_brackets(pattern: str, position: int) -> bool:
    plain = re.sub(r"\\.", "__", pattern[:position])
    return plain.rfind("[") > plain.rfind("]")


@functools.cache
def _ranges(category: str) -> str:
    """All characters of a general category, as the inside of a bracket expression."""
    found: list[str] = []
    start: int | None = None
    for code in range(sys.maxunicode + 2):
        inside = code <= sys.maxunicode and unicodedata.category(chr(code)).startswith(category)
        if inside and start is None:
            start = code
        elif not inside and start is not None:
            found.append(f"\\U{start:08x}-\\U{code - 1:08x}")
            start = None
    return "".join(found)
