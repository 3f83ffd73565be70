"""Where a request comes from, past the proxies that are trusted to say so."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network


def client_address(peer: str | None, forwarded: Iterable[str], trusted: Sequence[Network]) -> str | None:
    """The address nearest to us that is not a trusted proxy's; None where it cannot be known.

    `forwarded` are the X-Forwarded-For headers in their order. Each proxy appends whom it saw, so that only
    what trusted proxies appended is believed: read from the right, up to the first address of a stranger.
    """
    seen = _address(peer or "")
    hops = [hop for header in forwarded for hop in header.split(",")]
    while seen is not None and _is_trusted(seen, trusted) and hops:
        seen = _address(hops.pop())
    return None if seen is None else str(seen)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    text = text.strip()
    if text.startswith("["):  # [2001:db8::1]:4711
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # 192.0.2.1:4711
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _is_trusted(address: IPv4Address | IPv6Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted if network.version == address.version)
