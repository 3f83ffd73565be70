"""The setting that says whose tokens are accepted; shared/identity/tokens.py verifies them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.foundation.addresses import address_problem


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
        for name, url in (("issuer", self.issuer), ("jwks_url", self.jwks_url)):
            if url is not None and (problem := address_problem(url)):
                return f"{name}: {problem}"
        return None
