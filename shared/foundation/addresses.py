"""Which web addresses production may rely on: https, of another machine, without credentials in them.

What browsers and libraries make of a host differs (`127.1`, `0x7f000001`, a trailing dot): whatever is
neither a plain name nor a plain IP address is refused, rather than guessed at.
"""

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?")
"""The last label begins with a letter: what begins with a digit is an IPv4 address to some."""
_LOCAL: Final = re.compile(r"(?:.*\.)?(?:localhost|localdomain|localhost6|ip6-localhost|ip6-loopback)")


def address_problem(url: str) -> str | None:
    """Why production cannot rely on this address; None when it can. Repeats nothing of it but its host."""
    parts = _split(url)
    if parts is None or parts.scheme != "https" or not parts.hostname:
        return "it is not an https address"
    if parts.username is not None or parts.password is not None:
        return "it holds a user name or a password"
    host = parts.hostname
    if is_local(host):
        return f"{host} is this machine itself, on loopback"
    return None if _ip(host) or _NAME.fullmatch(host) else f"{host} is no plain name of a host"


def is_local(host: str) -> bool:
    """Whether a host is this machine by name or address, also unspecified or mapped into IPv6."""
    plain = host.lower().rstrip(".")
    if _LOCAL.fullmatch(plain):
        return True
    address = _ip(plain)
    if address is None:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return any(one.is_loopback or one.is_unspecified for one in (address, mapped) if one is not None)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for what is no number
    except ValueError:
        return None
    return parts


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
