"""Bearer tokens: whether one is real, for us, from an issuer we trust, and valid now.

Says whom the token names, not which user that is (shared/identity/bindings.py) nor what they may do
(shared/policy).
Nothing of a token is ever in a message, and no key is ever taken from one.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from joserfc import jws
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jws import CompactSignature, JWSRegistry

from shared.foundation.errors import Unauthenticated
from shared.foundation.issuers import TrustedIssuer
from shared.identity.issuer_keys import IssuerKeys

ALGORITHMS: Final = ("RS256", "ES256")
LEEWAY: Final = timedelta(seconds=30)
"""How far our clock and the issuer's may differ."""
MAX_TOKEN_CHARS: Final = 16_384
MAX_NAME_CHARS: Final = 512
"""Longest subject, claim or client name taken from a token."""

SETTING: Final = "JIT_ISSUERS"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. `lookup_value` is looked up by `lookup` to find the user."""

    iss: str
    sub: str
    lookup: Literal["external_id", "user_name", "email"]
    lookup_value: str
    external_id_issuer: str
    client: str | None = None
    auth_time: datetime | None = None
    acr: str | None = None
    proof: str = field(default="", compare=False)
    """SHA-256 over what names this one token (issuer, subject, `iat`, `jti`); nothing of it can be read."""


class TokenVerifier:
    """Verifies tokens of the trusted issuers.

    Raises ValueError, naming the setting, for an issuer that production cannot trust.
    """

    def __init__(self, issuers: Sequence[TrustedIssuer], *, production: bool) -> None:
        for trusted in issuers:
            if production and (problem := trusted.unfit_for_production()):
                raise ValueError(f"{SETTING}: {problem}")
        self._trusted = {trusted.issuer: trusted for trusted in issuers}
        if len(self._trusted) != len(issuers):
            raise ValueError(f"{SETTING}: the same issuer is named twice")
        self._keys = {
            trusted.issuer: IssuerKeys(
                issuer=trusted.issuer, jwks_url=trusted.jwks_url, https_only=production
            )
            for trusted in issuers
        }

    async def verify(self, token: str, now: datetime) -> Claims:
        """What the token says. Raises Unauthenticated with a stable code, or NotReady without any keys."""
        parsed, payload = _parse(token)
        trusted = self._trusted_by(payload)
        await self._check_signature(parsed, trusted.issuer, now)
        _check_audience(payload, trusted.audience)
        _check_times(payload, now)
        return Claims(
            iss=trusted.issuer,
            sub=_text(payload, "sub"),
            lookup=trusted.lookup,
            lookup_value=_lookup_value(payload, trusted),
            external_id_issuer=trusted.external_id_issuer or trusted.issuer,
            client=_client(payload),
            auth_time=_moment(payload, "auth_time"),
            acr=_optional_text(payload, "acr"),
            proof=_proof(payload),
        )

    def _trusted_by(self, payload: Mapping[str, Any]) -> TrustedIssuer:
        issuer = payload.get("iss")
        trusted = self._trusted.get(issuer) if isinstance(issuer, str) else None
        if trusted is None:
            raise Unauthenticated("the token's issuer is not trusted here", code="issuer_unknown")
        return trusted

    async def _check_signature(self, parsed: CompactSignature, issuer: str, now: datetime) -> None:
        header = parsed.headers()
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise _invalid()
        key = await self._keys[issuer].find(algorithm=header["alg"], kid=kid, now=now)
        if key is None:
            raise Unauthenticated("the token's issuer has no such key", code="key_unknown")
        try:
            good = jws.validate_compact(parsed, key, registry=_REGISTRY)
        except (JoseError, ValueError, TypeError) as error:
            raise _invalid() from error
        if not good:
            raise _invalid() from BadSignatureError()


class _Registry(JWSRegistry):
    """Two algorithms; headers we do not know are ignored, since they do not decide anything."""

    max_header_length = 4096


_REGISTRY: Final = _Registry(algorithms=ALGORITHMS, strict_check_header=False)


def _parse(token: str) -> tuple[CompactSignature, Mapping[str, Any]]:
    """The token taken apart; nothing of it is verified yet."""
    if len(token) > MAX_TOKEN_CHARS:
        raise Unauthenticated("the token is longer than any issuer makes them", code="token_too_large")
    if not token.isascii():
        raise _invalid()
    try:
        parsed = jws.extract_compact(token.encode("ascii"), None, _REGISTRY)
        payload = json.loads(parsed.payload, parse_constant=_refuse_constant)
        header = parsed.headers()
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _invalid() from error
    if not isinstance(header, dict) or not isinstance(payload, dict) or "crit" in header:
        raise _invalid()
    if header.get("alg") not in ALGORITHMS:
        raise Unauthenticated(
            f"tokens must be signed with {' or '.join(ALGORITHMS)}", code="algorithm_refused"
        )
    return parsed, payload


def _check_audience(payload: Mapping[str, Any], audience: str) -> None:
    named = payload.get("aud")
    if audience not in (named if isinstance(named, list) else [named]):
        raise Unauthenticated("the token was issued for another application", code="audience_wrong")


def _check_times(payload: Mapping[str, Any], now: datetime) -> None:
    expires = _moment(payload, "exp")
    if expires is None:
        raise Unauthenticated("the token does not say when it expires", code="token_without_end")
    if now - LEEWAY >= expires:
        raise Unauthenticated("the token has expired: sign in again", code="token_expired")
    for claim in ("nbf", "iat"):
        begins = _moment(payload, claim)
        if begins is not None and now + LEEWAY < begins:
            raise Unauthenticated("the token is not valid yet", code="token_not_yet_valid")


def _lookup_value(payload: Mapping[str, Any], trusted: TrustedIssuer) -> str:
    if trusted.lookup == "email" and payload.get("email_verified") is not True:
        raise Unauthenticated("the issuer has not verified the e-mail address", code="email_unverified")
    return _text(payload, trusted.claim)


def _client(payload: Mapping[str, Any]) -> str | None:
    """The application that got the token: OpenID's azp, RFC 9068's client_id, Entra's appid."""
    named = (_optional_text(payload, claim) for claim in ("azp", "client_id", "appid"))
    return next((client for client in named if client is not None), None)


def _proof(payload: Mapping[str, Any]) -> str:
    named = [payload.get(claim) for claim in ("iss", "sub", "iat", "jti")]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def _text(payload: Mapping[str, Any], claim: str) -> str:
    value = _optional_text(payload, claim)
    if value is None:
        raise Unauthenticated(f"the token has no usable claim {claim}", code="claim_missing")
    return value


def _optional_text(payload: Mapping[str, Any], claim: str) -> str | None:
    """The claim if it is a plain text; control characters and odd lengths make it unusable."""
    value = payload.get(claim)
    good = isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARS and value.isprintable()
    return value if good else None


def _moment(payload: Mapping[str, Any], claim: str) -> datetime | None:
    value = payload.get(claim)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid()
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise _invalid() from error


def _invalid() -> Unauthenticated:
    return Unauthenticated("the token does not hold: sign in again", code="token_invalid")


def _refuse_constant(name: str) -> Any:
    """NaN and Infinity are no JSON, and an infinite `exp` would never pass."""
    raise ValueError(name)
