"""Tokens that do not hold: no service lets anybody in by them, whatever the rest of the request says."""

import base64
import json
from collections.abc import Callable

import pytest
from joserfc.jwk import ECKey

from tests.support.key_server import claims, sign
from tests.support.person import Person
from tests.support.running import Running
from tests.support.stack import SHARED_ADDRESS

pytestmark = pytest.mark.e2e

PATHS = ("/v1/tickets", "/v1/reviews", "/v1/grants", "/v1/deliveries", "/v1/audit/events")
"""One of each service."""


def _without_signature(running: Running) -> str:
    _, payload, _ = running.person("root").token.split(".")
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "at+jwt"}).encode()).decode()
    return f"{header.rstrip('=')}.{payload}."


def _of_another_key(running: Running) -> str:
    """The issuer's name and key id, somebody else's key, which comes along in the header."""
    forged = ECKey.generate_key("P-256", {"kid": running.stack.issuer.key_set()["keys"][0]["kid"]})
    payload = claims(running.stack.issuer.issuer_url, running.clock.now(), preferred_username="root")
    public = forged.as_dict(private=False)
    return sign(forged, payload, algorithm="ES256", kid=forged.kid, jwk=public, jku="http://127.0.0.1:1/")


def _of_other_issuer(running: Running) -> str:
    """A trusted issuer's key under another trusted issuer's name."""
    payload = claims(running.stack.issuer.issuer_url, running.clock.now(), preferred_username="root")
    return sign(running.other_key, payload, algorithm="ES256", kid=running.other_key.kid)


def _changed(running: Running) -> str:
    header, _, signature = running.person("ann").token.split(".")
    return f"{header}.{running.person('root').token.split('.')[1]}.{signature}"


def _now(running: Running) -> int:
    return int(running.clock.now().timestamp())


UNAUTHENTICATED: list[tuple[str, Callable[[Running], str], str]] = [
    ("expired", lambda it: it.person("root", exp=_now(it) - 60).token, "token_expired"),
    ("without end", lambda it: it.person("root", exp=None).token, "token_without_end"),
    ("of tomorrow", lambda it: it.person("root", nbf=_now(it) + 3600).token, "token_not_yet_valid"),
    ("wrong audience", lambda it: it.person("root", aud="another").token, "audience_wrong"),
    ("no audience", lambda it: it.person("root", aud=None).token, "audience_wrong"),
    ("unknown issuer", lambda it: it.person("root", iss="http://127.0.0.1:1").token, "issuer_unknown"),
    ("alg none", _without_signature, "algorithm_refused"),
    ("another key", _of_another_key, "token_invalid"),
    ("another issuer's key", _of_other_issuer, "key_unknown"),
    ("payload of another token", _changed, "token_invalid"),
    ("nothing like a token", lambda _: "root", "token_invalid"),
    ("huge", lambda _: "a" * 20_000, "token_too_large"),
]


@pytest.mark.parametrize(
    ("make", "code"), [one[1:] for one in UNAUTHENTICATED], ids=[one[0] for one in UNAUTHENTICATED]
)
async def test_call_with_token_that_does_not_hold_is_unauthenticated(
    running: Running, make: Callable[[Running], str], code: str
) -> None:
    for path in PATHS:
        answer = await running.bearer(make(running)).call("GET", path)
        assert (answer.status_code, answer.json()["code"]) == (401, code), path
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_call_without_token_is_unauthenticated(running: Running) -> None:
    for path in PATHS:
        answer = await running.client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (401, "token_missing"), path


async def _refused(person: Person, code: str) -> None:
    for path in PATHS:
        answer = await person.call("GET", path)
        assert (answer.status_code, answer.json()["code"]) == (403, code), path


async def test_call_by_nobody_of_the_identity_store_is_refused(running: Running) -> None:
    await _refused(running.person("mallory"), "identity_unknown")


async def test_call_by_somebody_disabled_is_refused(running: Running) -> None:
    await _refused(running.person("leaver"), "identity_disabled")


async def test_call_by_an_address_of_two_people_is_refused(running: Running) -> None:
    await _refused(running.mailed_person(SHARED_ADDRESS), "identity_ambiguous")


async def test_call_by_an_unverified_address_is_unauthenticated(running: Running) -> None:
    address = running.stack.simulator.directory.find_user("root").email
    answer = await running.mailed_person(address, verified=False).call("GET", "/v1/tickets")
    assert (answer.status_code, answer.json()["code"]) == (401, "email_unverified")


async def test_call_with_a_second_subject_for_a_known_user_is_refused_and_alerted(running: Running) -> None:
    await running.person("rita").get("/v1/tickets")
    answer = await running.person("rita", sub="somebody-else").call("GET", "/v1/tickets")
    assert (answer.status_code, answer.json()["code"]) == (403, "identity_conflict")
    await running.until_alerted("a token names rita")


@pytest.mark.parametrize(
    "name", ["ROOT", "root ", " root", "ro\u200bot", "r\u043e\u043et", "root\n", "ｒｏｏｔ"]
)
async def test_call_under_a_name_that_only_looks_like_an_administrators_is_refused(
    running: Running, name: str
) -> None:
    answer = await running.person(name).call("GET", "/v1/scopes")
    refused = {"identity_unknown", "identity_conflict", "claim_missing"}
    assert answer.status_code in {401, 403}
    assert answer.json()["code"] in refused
