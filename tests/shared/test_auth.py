import asyncio
import base64
import json
import logging
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc.jwk import OctKey
from pydantic import ValidationError

from shared.foundation.errors import NotReady, Unauthenticated
from shared.foundation.issuers import TrustedIssuer
from shared.identity.issuer_keys import FIRST_RETRY_AFTER, MAX_AGE, RETRY_AFTER, STALE_LIMIT, IssuerKeys
from shared.identity.tokens import LEEWAY, Claims, TokenVerifier
from tests.support.key_server import KeyServer, claims, ec_key, key_server, rsa_key, sign

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
KEY = rsa_key("k1")
OTHER = rsa_key("k2")
ELLIPTIC = ec_key("e1")


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    async with key_server() as running:
        running.publish(KEY, ELLIPTIC)
        yield running


def trusted(server: KeyServer, **changes: Any) -> TrustedIssuer:
    good = {"issuer": server.url, "audience": "jit", "claim": "preferred_username", "lookup": "user_name"}
    return TrustedIssuer(**{**good, **changes})


def verifier(server: KeyServer, **changes: Any) -> TokenVerifier:
    return TokenVerifier([trusted(server, **changes)], production=False)


async def refusal(checks: TokenVerifier, token: str, now: datetime = NOW) -> str:
    """The code a token is refused with; nothing of the token may be in the sentence."""
    with pytest.raises(Unauthenticated) as raised:
        await checks.verify(token, now)
    assert not any(part and part in str(raised.value) for part in token.split("."))
    return raised.value.code


async def accepts(checks: TokenVerifier, token: str, now: datetime = NOW) -> bool:
    return (await checks.verify(token, now)).lookup_value == "ann"


async def test_verify_of_a_good_token_says_who_it_names(server: KeyServer) -> None:
    token = sign(KEY, claims(server.url, NOW), kid="k1")
    assert await verifier(server).verify(token, NOW) == Claims(
        iss=server.url,
        sub="subject-1",
        lookup="user_name",
        lookup_value="ann",
        external_id_issuer=server.url,
        client="portal",
        auth_time=NOW,
        acr="mfa",
    )


async def test_verify_gives_each_token_a_proof_that_holds_nothing_of_it(server: KeyServer) -> None:
    async def proof(**changes: Any) -> str:
        token = sign(KEY, claims(server.url, NOW, **({"jti": "one"} | changes)), kid="k1")
        return (await verifier(server).verify(token, NOW)).proof

    first = await proof()
    assert len(first) == 64
    assert await proof(acr="other", exp=_seconds(timedelta(minutes=9))) == first
    others = [await proof(sub="other"), await proof(iat=_seconds(-SECOND)), await proof(jti=None)]
    assert len({first, *others}) == 4


async def test_verify_with_an_elliptic_key_and_without_discovery(server: KeyServer) -> None:
    checks = verifier(server, jwks_url=f"{server.url}/jwks", external_id_issuer="https://scim")
    token = sign(ELLIPTIC, claims(server.url, NOW, aud=["x", "jit"]), algorithm="ES256", kid="e1")
    assert (await checks.verify(token, NOW)).external_id_issuer == "https://scim"


@pytest.mark.parametrize(
    ("late", "code"),
    [(timedelta(0), None), (LEEWAY - SECOND, None), (LEEWAY, "token_expired"), (5 * LEEWAY, "token_expired")],
)
async def test_verify_around_the_end_allows_the_leeway(
    server: KeyServer, late: timedelta, code: str | None
) -> None:
    checks, token = verifier(server), sign(KEY, claims(server.url, NOW), kid="k1")
    moment = NOW + timedelta(minutes=5) + late
    if code is None:
        assert await accepts(checks, token, moment)
    else:
        assert await refusal(checks, token, moment) == code


def _seconds(delta: timedelta) -> int:
    return int((NOW + delta).timestamp())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aud": "other"}, "audience_wrong"),
        ({"aud": ["other"]}, "audience_wrong"),
        ({"aud": None}, "audience_wrong"),
        ({"aud": {"jit": 1}}, "audience_wrong"),
        ({"iss": "https://elsewhere"}, "issuer_unknown"),
        ({"iss": None}, "issuer_unknown"),
        ({"aud": "jit-staging"}, "audience_wrong"),
        ({"aud": "ji"}, "audience_wrong"),
        ({"aud": ["jit-staging", "staging-jit"]}, "audience_wrong"),
        ({"iss": ["x"]}, "issuer_unknown"),
        ({"exp": None}, "token_without_end"),
        ({"exp": "tomorrow"}, "token_invalid"),
        ({"exp": True}, "token_invalid"),
        ({"exp": 10**400}, "token_invalid"),
        ({"exp": float("inf")}, "token_invalid"),
        ({"exp": float("nan")}, "token_invalid"),
        ({"nbf": _seconds(LEEWAY + SECOND)}, "token_not_yet_valid"),
        ({"iat": _seconds(LEEWAY + SECOND)}, "token_not_yet_valid"),
        ({"sub": None}, "claim_missing"),
        ({"sub": ""}, "claim_missing"),
        ({"sub": "a\x00b"}, "claim_missing"),
        ({"sub": "a" * 513}, "claim_missing"),
        ({"preferred_username": None}, "claim_missing"),
        ({"preferred_username": ["ann"]}, "claim_missing"),
    ],
)
async def test_verify_of_wrong_claims_says_which(
    server: KeyServer, changes: dict[str, Any], code: str
) -> None:
    assert await refusal(verifier(server), sign(KEY, claims(server.url, NOW, **changes), kid="k1")) == code


async def test_verify_of_an_end_at_the_end_of_time_is_no_error(server: KeyServer) -> None:
    token = sign(KEY, claims(server.url, NOW, exp=253402300799, nbf=_seconds(LEEWAY)), kid="k1")
    assert await accepts(verifier(server), token, NOW)


@pytest.mark.parametrize("verified", [None, False, "true", 1])
async def test_verify_by_email_needs_it_verified(server: KeyServer, verified: object) -> None:
    checks = verifier(server, claim="email", lookup="email")
    given = claims(server.url, NOW, email="ann@x.io", email_verified=verified)
    assert await refusal(checks, sign(KEY, given, kid="k1")) == "email_unverified"
    good = sign(KEY, {**given, "email_verified": True}, kid="k1")
    assert (await checks.verify(good, NOW)).lookup_value == "ann@x.io"


async def test_verify_of_a_forged_token_is_refused_whatever_its_header_brings(server: KeyServer) -> None:
    checks, good = verifier(server), claims(server.url, NOW)
    theirs = OTHER.as_dict(private=False)
    for header in ({}, {"jwk": theirs}, {"jku": f"{server.url}/evil"}, {"x5u": f"{server.url}/evil"}):
        assert await refusal(checks, sign(OTHER, good, kid="k1", **header)) == "token_invalid"
    assert server.fetched == 1


async def test_verify_ignores_a_key_in_the_header_of_a_good_token(server: KeyServer) -> None:
    token = sign(KEY, claims(server.url, NOW), kid="k1", jwk=OTHER.as_dict(private=False), nonce="x")
    assert await accepts(verifier(server), token, NOW)


async def test_verify_of_a_changed_payload_is_refused(server: KeyServer) -> None:
    header, _, signature = sign(KEY, claims(server.url, NOW), kid="k1").split(".")
    changed = json.dumps(claims(server.url, NOW, preferred_username="root")).encode()
    payload = base64.urlsafe_b64encode(changed).rstrip(b"=").decode()
    assert await refusal(verifier(server), f"{header}.{payload}.{signature}") == "token_invalid"


async def test_verify_without_or_with_another_algorithm_is_refused(server: KeyServer) -> None:
    checks, good = verifier(server), claims(server.url, NOW)
    assert await refusal(checks, _unsigned(good)) == "algorithm_refused"
    secret = OctKey.import_key(str(KEY.as_dict(private=False)["n"]))
    assert await refusal(checks, sign(secret, good, algorithm="HS256", kid="k1")) == "algorithm_refused"
    pem = OctKey.import_key(base64.b64encode(KEY.as_pem(private=False)))
    assert await refusal(checks, sign(pem, good, algorithm="HS256", kid="k1")) == "algorithm_refused"


def _unsigned(payload: dict[str, Any]) -> str:
    """By hand: the library warns of `none`."""
    parts = ({"alg": "none", "kid": "k1"}, payload)
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
        + "."
    )


async def test_verify_with_the_key_of_another_kind_is_refused(server: KeyServer) -> None:
    token = sign(KEY, claims(server.url, NOW), kid="e1")
    assert await refusal(verifier(server), token) == "key_unknown"


@pytest.mark.parametrize(
    "token",
    ["", "a", "a.b", "a.b.c", "a.b.c.d", "....", "é.é.é", "e30.e30.", "bnVsbA.bnVsbA.AAAA", "W10.W10.AAAA"],
)
async def test_verify_of_garbage_is_refused(server: KeyServer, token: str) -> None:
    with pytest.raises(Unauthenticated) as raised:
        await verifier(server).verify(token, NOW)
    assert raised.value.code == "token_invalid"


async def test_verify_of_hostile_json_is_refused(server: KeyServer) -> None:
    for payload in ("[" * 9000, "[]", "null", '{"exp": ' + "9" * 5000 + "}"):
        assert await refusal(verifier(server), sign(KEY, payload, kid="k1")) == "token_invalid"
    large = sign(KEY, claims(server.url, NOW, padding="x" * 17_000), kid="k1")
    assert await refusal(verifier(server), large) == "token_too_large"


async def test_verify_of_critical_headers_is_refused(server: KeyServer) -> None:
    token = sign(KEY, claims(server.url, NOW), kid="k1", crit=["b64"], b64=True)
    assert await refusal(verifier(server), token) == "token_invalid"


async def test_verify_without_key_id_needs_the_only_key_of_its_kind(server: KeyServer) -> None:
    token = sign(KEY, claims(server.url, NOW))
    assert await accepts(verifier(server), token, NOW)
    server.publish(KEY, OTHER)
    assert await refusal(verifier(server), token) == "key_unknown"


async def test_verify_after_a_rotation_fetches_at_most_twice_a_minute(server: KeyServer) -> None:
    checks = verifier(server)
    old, new = (sign(key, claims(server.url, NOW), kid=key.kid) for key in (KEY, OTHER))
    await checks.verify(old, NOW)
    server.publish(OTHER)
    early = NOW + RETRY_AFTER - SECOND
    assert await refusal(checks, new, early) == "key_unknown"
    assert server.fetched == 1
    assert await accepts(checks, new, NOW + RETRY_AFTER)
    assert server.fetched == 2
    assert await refusal(checks, old, NOW + RETRY_AFTER + SECOND) == "key_unknown"
    assert server.fetched == 2


async def test_verify_refreshes_keys_older_than_their_age(server: KeyServer) -> None:
    checks, later = verifier(server), NOW + MAX_AGE + SECOND
    await checks.verify(sign(KEY, claims(server.url, NOW), kid="k1"), NOW)
    server.publish(OTHER)
    assert await refusal(checks, sign(KEY, claims(server.url, later), kid="k1"), later) == "key_unknown"


@pytest.mark.parametrize(
    "body", [None, b"not json", b"{}", b'{"keys": []}', b"[" * 100_000, b" " * 1_000_001]
)
async def test_verify_with_the_issuer_failing_uses_old_keys_for_a_day(
    server: KeyServer, body: bytes | None
) -> None:
    checks = verifier(server)
    await checks.verify(sign(KEY, claims(server.url, NOW), kid="k1"), NOW)
    server.body, server.status = body, 500 if body is None else 200
    for later in (MAX_AGE + SECOND, STALE_LIMIT):
        assert await accepts(checks, sign(KEY, claims(server.url, NOW + later), kid="k1"), NOW + later)
    late = NOW + STALE_LIMIT + RETRY_AFTER
    with pytest.raises(NotReady) as raised:
        await checks.verify(sign(KEY, claims(server.url, late), kid="k1"), late)
    assert raised.value.code == "issuer_unreachable"


async def test_verify_with_the_issuer_never_reached_is_not_ready_and_tries_again(server: KeyServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}/jwks"
        with pytest.raises(NotReady):
            await verifier(server, jwks_url=closed).verify(sign(KEY, claims(server.url, NOW), kid="k1"), NOW)
    checks, token = verifier(server), sign(KEY, claims(server.url, NOW), kid="k1")
    server.status = 503
    with pytest.raises(NotReady):
        await checks.verify(token, NOW)
    server.status = 200
    with pytest.raises(NotReady):
        await checks.verify(token, NOW + FIRST_RETRY_AFTER - SECOND)
    assert await accepts(checks, token, NOW + FIRST_RETRY_AFTER)


async def test_verify_of_many_at_once_fetches_once_and_waits_only_without_keys(server: KeyServer) -> None:
    checks, token = verifier(server), sign(KEY, claims(server.url, NOW), kid="k1")
    await asyncio.gather(*(checks.verify(token, NOW) for _ in range(20)))
    assert server.fetched == 1
    server.hold = asyncio.Event()
    later = NOW + MAX_AGE + SECOND
    fresh = sign(KEY, claims(server.url, later), kid="k1")
    slow = asyncio.create_task(checks.verify(fresh, later))
    await server.held.wait()
    assert await accepts(checks, fresh, later), "others go on with the keys there are"
    server.hold.set()
    assert (await slow).lookup_value == "ann"


async def test_keys_that_must_not_be_used_are_left_out(server: KeyServer) -> None:
    server.publish(KEY)
    entry = dict(server.keys[0])
    secret = OctKey.import_key("secret" * 10, {"kid": "s1"}).as_dict()
    server.keys = [
        {**entry, "kid": "enc", "use": "enc"},
        {**entry, "kid": "ps", "alg": "PS256"},
        {**entry, "kid": "bad", "n": "!"},
        {**_small_key(), "kid": "small"},
        {**ec_key("p384", "P-384").as_dict(private=False), "kid": "p384"},
        secret,
        "key",  # type: ignore[list-item]
        entry,
    ]
    checks = verifier(server)
    assert await accepts(checks, sign(KEY, claims(server.url, NOW), kid="k1"), NOW)
    for kid in ("enc", "ps", "bad", "small", "p384", "s1"):
        assert await refusal(checks, sign(KEY, claims(server.url, NOW), kid=kid)) == "key_unknown"


def _small_key() -> dict[str, Any]:
    """A 1024-bit public key; made by hand, since the library warns of making one."""
    number = (1 << 1023) | 1
    encoded = base64.urlsafe_b64encode(number.to_bytes(128, "big")).rstrip(b"=").decode()
    return {"kty": "RSA", "n": encoded, "e": "AQAB"}


async def test_discovery_that_names_plain_http_in_production_is_refused(server: KeyServer) -> None:
    keys = IssuerKeys(issuer=server.url, jwks_url=None, https_only=True)
    with pytest.raises(NotReady):
        await keys.find(algorithm="RS256", kid="k1", now=NOW)
    assert server.fetched == 0


async def test_discovery_of_another_issuer_or_without_address_is_refused(server: KeyServer) -> None:
    token = sign(KEY, claims(server.url, NOW), kid="k1")
    server.discovery = {"issuer": "https://elsewhere"}
    with pytest.raises(NotReady):
        await verifier(server).verify(token, NOW)
    server.discovery = {"jwks_uri": 5}
    with pytest.raises(NotReady):
        await verifier(server).verify(token, NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "http://idp.example.com"},
        {"issuer": "https://localhost:8443"},
        {"issuer": "https://127.0.0.2"},
        {"issuer": "https://[::1]"},
        {"issuer": "idp"},
        {"jwks_url": "http://idp.example.com/keys"},
        {"jwks_url": "https://127.0.0.1/keys"},
    ],
)
def test_verifier_in_production_refuses_issuers_that_cannot_be_trusted(changes: dict[str, str]) -> None:
    good = {"issuer": "https://idp.example.com", "audience": "jit", "claim": "sub", "lookup": "user_name"}
    issuer = TrustedIssuer.model_validate({**good, **changes})
    TokenVerifier([issuer], production=False)
    with pytest.raises(ValueError, match="JIT_ISSUERS"):
        TokenVerifier([issuer], production=True)
    TokenVerifier([TrustedIssuer.model_validate(good)], production=True)


def test_verifier_refuses_the_same_issuer_twice_and_misspelt_settings() -> None:
    good = {"issuer": "https://idp.example.com", "audience": "jit", "claim": "sub", "lookup": "user_name"}
    issuer = TrustedIssuer.model_validate(good)
    with pytest.raises(ValueError, match="twice"):
        TokenVerifier([issuer, issuer], production=True)
    with pytest.raises(ValidationError):
        TrustedIssuer.model_validate({**good, "audiense": "x"})


async def test_verify_logs_nothing_of_a_token(server: KeyServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = sign(OTHER, claims(server.url, NOW), kid="k1")
    await refusal(verifier(server), token)
    assert not [part for part in token.split(".") if part in caplog.text]
