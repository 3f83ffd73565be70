"""Tags in selectors: `tag:<key>=<value>`, with one spelling for each tag and one tag for each spelling.

A key or value may hold "=" or anything else AWS takes: what is not a letter, a digit or one of `_.:/+-@`
and inner blanks is percent-encoded, so that the one bare "=" always stands between key and value.
"""

import re
from typing import Final
from urllib.parse import quote, unquote

_BARE: Final = re.compile(r"[\w.:/+\-@]|(?<=.) (?=.)", re.DOTALL)
"""What stands for itself: AWS's own alphabet without "=", and blanks that are not at an end."""


def tag_selector(key: str, value: str) -> str:
    """The selector of the accounts with that tag."""
    return f"tag:{_encoded(key)}={_encoded(value)}"


def tag_problem(selector: str) -> str | None:
    """Why a `tag:` selector is not the one spelling of a tag; None when it is."""
    text = selector.removeprefix("tag:")
    key, found, value = text.partition("=")
    if not key or not found:
        return "Select by a tag as tag:<key>=<value>."
    if "=" in value:
        return (
            f"{selector} can be read in more than one way: write every = that belongs to the key or to the "
            f"value as %3D, such as {tag_selector(key, value)}."
        )
    proper = tag_selector(unquote(key), unquote(value))
    return None if proper == selector else f"Write this tag as {proper}."


def _encoded(text: str) -> str:
    return "".join(
        text[at] if _BARE.match(text, at) else quote(text[at], safe="", errors="surrogatepass")
        for at in range(len(text))
    )
