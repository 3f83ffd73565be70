"""What the fields may hold that describe a ticket to people. Each of them may be left out. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from services.ticket.domain.window import looks_secret
from shared.contracts.description import LONGEST_LINK, LONGEST_REFERENCE, Description
from shared.foundation.errors import FieldError

_ADDRESS: Final = re.compile(r"https://[!#-;=?-\[\]_a-z~]+")
"""What an address may be written with: ASCII, so that no letter looks like another and none hides."""


def check_description(description: Description) -> list[FieldError]:
    """Everything that is wrong with the fields that are given."""
    given = {name: value for name, value in dict(description).items() if value is not None}
    return [problem for name, value in given.items() for problem in _CHECKS[name](value)]


def _check_reference(reference: str) -> list[FieldError]:
    if not reference.strip() or len(reference) > LONGEST_REFERENCE or not reference.isprintable():
        sentence = f"a reference is one line of at most {LONGEST_REFERENCE} characters, or is left out"
        return [FieldError("/reference", "reference_invalid", sentence)]
    return looks_secret("/reference", reference)


def _check_link(link: str) -> list[FieldError]:
    """It is mailed to approvers as a link: what is shown is where it leads, and it carries no login."""
    if len(link) > LONGEST_LINK or not _ADDRESS.fullmatch(link) or not _has_host(link):
        sentence = (
            f"a link is an https address of at most {LONGEST_LINK} ASCII characters, without a user name or "
            "password and with everything else percent-encoded, or is left out"
        )
        return [FieldError("/link", "link_invalid", sentence)]
    return looks_secret("/link", link)


def _has_host(link: str) -> bool:
    """Whether it names a host, and no user of it."""
    try:
        address = urlsplit(link)
        return bool(address.hostname) and "@" not in address.netloc and address.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        return False


_CHECKS: Final[Mapping[str, Callable[[str], list[FieldError]]]] = {
    "reference": _check_reference,
    "link": _check_link,
}
"""Every field of the contract; a test holds that none is missing."""
