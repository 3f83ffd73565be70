"""The development issuer: tokens that verify, a key that stays, and where it refuses to be."""

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.errors import ExpiredTokenError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry
from starlette.applications import Starlette
from starlette.routing import Mount

from local.issuer import DevelopmentIssuer, DevelopmentIssuerRefused, subject_of
from local.look import HEAD

URL = "http://127.0.0.1:8000/issuer"
PEOPLE = {"ann": "developer", "bob": "manager & <b>"}


def issuer(data: Path, *, environment: str = "development", url: str = URL) -> DevelopmentIssuer:
    return DevelopmentIssuer(data, url, "jit", PEOPLE, environment=environment)


def client(
    source: DevelopmentIssuer, *, peer: str = "127.0.0.1", host: str = "127.0.0.1"
) -> httpx2.AsyncClient:
    app = Starlette(routes=[Mount("/issuer", source.app)])
    transport = httpx2.ASGITransport(app, client=(peer, 50000))
    return httpx2.AsyncClient(transport=transport, base_url=f"http://{host}:8000/issuer")


def verified(token: str, keys: Any) -> dict[str, Any]:
    claims = jwt.decode(token, KeySet.import_key_set(keys), algorithms=["ES256"]).claims
    required = JWTClaimsRegistry(
        iss={"essential": True, "value": URL},
        aud={"essential": True, "value": "jit"},
        exp={"essential": True},
    )
    required.validate(claims)
    return dict(claims)


@pytest.mark.parametrize("form", [{"data": {"user": "ann"}}, {"json": {"user": "ann"}}])
async def test_a_token_from_http_verifies_against_the_published_keys(tmp_path: Path, form: Any) -> None:
    async with client(issuer(tmp_path)) as http:
        discovery = (await http.get("/.well-known/openid-configuration")).json()
        assert discovery["issuer"] == URL
        assert discovery["jwks_uri"] == f"{URL}/jwks.json"
        keys = (await http.get("/jwks.json")).json()
        answer = (await http.post("/token", **form)).json()
    assert "d" not in keys["keys"][0], "the private key must not be published"
    claims = verified(answer["access_token"], keys)
    assert claims["preferred_username"] == "ann"
    assert claims["sub"] == subject_of("ann") != subject_of("bob")
    assert claims["exp"] - claims["iat"] == answer["expires_in"] == 12 * 3600
    assert {"auth_time", "acr"} <= claims.keys()


async def test_plain_text_is_the_bare_token_for_the_shell(tmp_path: Path) -> None:
    source = issuer(tmp_path)
    async with client(source) as http:
        answer = await http.post("/token", data={"user": "ann"}, headers={"Accept": "text/plain"})
    assert verified(answer.text, source.key_set())["preferred_username"] == "ann"


@pytest.mark.parametrize(
    "form", [{}, {"json": ["ann"]}, {"data": {"user": ""}}, {"data": {"user": "a" * 129}}]
)
async def test_a_request_without_a_usable_name_says_what_to_send(tmp_path: Path, form: Any) -> None:
    async with client(issuer(tmp_path)) as http:
        answer = await http.post("/token", **form)
    assert answer.status_code == 400
    assert "user" in answer.json()["error_description"]


def test_the_key_survives_a_restart_and_is_private(tmp_path: Path) -> None:
    first = issuer(tmp_path)
    token = first.mint("ann")
    again = issuer(tmp_path)
    assert again.key_set() == first.key_set()
    assert verified(token, again.key_set())["sub"] == subject_of("ann")
    assert stat.S_IMODE((tmp_path / "issuer-key.json").stat().st_mode) == 0o600
    assert issuer(tmp_path / "other").key_set() != first.key_set()


def test_overrides_replace_and_remove_claims(tmp_path: Path) -> None:
    source = issuer(tmp_path)
    past = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
    with pytest.raises(ExpiredTokenError):
        verified(source.mint("ann", exp=past), source.key_set())
    assert "acr" not in verified(source.mint("ann", acr=None), source.key_set())


async def test_the_page_lists_the_people_escaped(tmp_path: Path) -> None:
    async with client(issuer(tmp_path)) as http:
        page = await http.get("/")
        script = await http.get("/page.js")
    assert HEAD in page.text
    assert "manager &amp; &lt;b&gt;" in page.text
    assert f"-d user=ann {URL}/token" in page.text
    assert 'src="/issuer/page.js"' in page.text
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert script.status_code == 200


@pytest.mark.parametrize("url", ["http://0.0.0.0:8000", "https://issuer.example.com", "http://10.0.0.1", "x"])
def test_an_address_other_than_loopback_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(DevelopmentIssuerRefused, match="loopback"):
        issuer(tmp_path, url=url)


def test_production_is_refused_and_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DevelopmentIssuerRefused, match="JIT_ENV"):
        issuer(tmp_path, environment="production")
    monkeypatch.delenv("JIT_ENV", raising=False)
    with pytest.raises(DevelopmentIssuerRefused, match="JIT_ENV"):
        DevelopmentIssuer(tmp_path, URL, "jit", PEOPLE)


async def test_other_machines_and_other_names_of_this_one_get_nothing(tmp_path: Path) -> None:
    source = issuer(tmp_path)
    async with client(source, peer="192.0.2.7") as http:
        assert (await http.post("/token", data={"user": "ann"})).status_code == 403
    async with client(source, host="rebound.example.com") as http:
        assert (await http.post("/token", data={"user": "ann"})).status_code == 400
