"""The setting that says whose tokens are accepted; shared/identity/tokens.py verifies them."""

import ipaddress
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field


class TrustedIssuer(BaseModel):
    """An issuer whose tokens are accepted, and how its tokens name an Identity Store user."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(min_length=1)
    """Compared exactly with the token's `iss`; discovery is asked below it."""
    audience: str = Field(min_length=1)
    """Must be the token's `aud` or among it: tokens for other applications are refused."""
    jwks_url: str | None = None
    """Where the keys are; discovered when absent."""
    claim: str = Field(min_length=1)
    """The claim that names the user."""
    lookup: Literal["external_id", "user_name", "email"]
    """What the claim holds. An e-mail counts only with `email_verified`."""
    external_id_issuer: str | None = None
    """The issuer within the user's external ids; the token's own when absent."""

    def unfit_for_production(self) -> str | None:
        """Why production cannot trust it: plain http, or a host of this machine. None when it can."""
        for url in (self.issuer, self.jwks_url):
            parts = urlsplit(url or self.issuer)
            if parts.scheme != "https" or not parts.hostname:
                return f"{url} is not an https address"
            if is_loopback(parts.hostname):
                return f"{url} is on loopback"
        return None


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
