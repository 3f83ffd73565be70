"""Development token issuer: signs an access token for whoever is asked for, without a password.

That is why it refuses to exist in production, under an address other than loopback, and to answer anybody
but this machine. The services trust it like any issuer, by its discovery document and JWKS.
"""

import hashlib
import ipaddress
import json
import os
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from jinja2 import Environment
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from local.look import HEAD

_ALGORITHM = "ES256"
_LIFETIME = timedelta(hours=12)
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1", "[::1]")
_LONGEST_NAME = 128  # Identity Store's limit of a user name
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; "
    "connect-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_PAGE = Environment(autoescape=True).from_string(f"""<!doctype html><html lang="en"><head>
<title>Development tokens</title>{HEAD}</head><body><h1>Development tokens</h1>
<p>For this machine only: a token for anybody, without a password, valid {{{{ hours }}}} hours.</p><table>
{{% for user, description in people.items() %}}<tr><td class="name">{{{{ user }}}}</td>
<td>{{{{ description }}}}</td><td><button data-user="{{{{ user }}}}">Copy token</button></td>
<td><code>curl -s -H 'Accept: text/plain' -d user={{{{ user }}}} {{{{ issuer }}}}/token</code></td></tr>
{{% endfor %}}</table><script src="{{{{ root }}}}/page.js"></script></body></html>""")
_SCRIPT = """const endpoint = new URL("token", document.currentScript.src);
for (const button of document.querySelectorAll("button")) {
  button.addEventListener("click", async () => {
    const body = new URLSearchParams({user: button.dataset.user});
    const answer = await fetch(endpoint, {method: "POST", body});
    await navigator.clipboard.writeText((await answer.json()).access_token);
    button.textContent = "Copied";
  });
}
"""


class DevelopmentIssuerRefused(RuntimeError):
    """The issuer would be reachable or trusted where it must not be; the sentence says what to change."""


class DevelopmentIssuer:
    """Tokens under `issuer_url`, signed with a key that belongs to the data folder and survives restarts.

    `people` maps the Identity Store user names that the page offers to a description of each. `environment`
    is JIT_ENV when absent, and that is production when unset.
    """

    def __init__(
        self,
        data: Path,
        issuer_url: str,
        audience: str,
        people: Mapping[str, str],
        *,
        environment: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        _refuse_outside_development(issuer_url, environment or os.environ.get("JIT_ENV", "production"))
        self.issuer_url = issuer_url.rstrip("/")
        self.audience = audience
        self.people = dict(people)
        self._now = now
        self._key = _load_or_make_key(data)
        self.app = self._make_app()

    def mint(self, user: str, **overrides: Any) -> str:
        """An access token for `user`. An override replaces a claim; None leaves the claim out."""
        issued = int(self._now().timestamp())
        claims = {
            "iss": self.issuer_url,
            "sub": subject_of(user),
            "aud": self.audience,
            "iat": issued,
            "auth_time": issued,
            "exp": issued + int(_LIFETIME.total_seconds()),
            "acr": "development",
            "jti": secrets.token_urlsafe(12),
            "preferred_username": user,
        }
        kept = {name: value for name, value in (claims | overrides).items() if value is not None}
        header = {"alg": _ALGORITHM, "kid": self._key.kid, "typ": "at+jwt"}
        return jwt.encode(header, kept, self._key, algorithms=[_ALGORITHM])

    def key_set(self) -> dict[str, Any]:
        """The public key as a JWKS document."""
        public = self._key.as_dict(private=False)
        return {"keys": [{**public, "kid": self._key.kid, "alg": _ALGORITHM, "use": "sig"}]}

    def discovery(self) -> dict[str, Any]:
        """The OpenID Connect discovery document."""
        return {
            "issuer": self.issuer_url,
            "jwks_uri": f"{self.issuer_url}/jwks.json",
            "token_endpoint": f"{self.issuer_url}/token",
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [_ALGORITHM],
        }

    def _make_app(self) -> Starlette:
        async def discovery(_request: Request) -> Response:
            return JSONResponse(self.discovery())

        async def keys(_request: Request) -> Response:
            return JSONResponse(self.key_set())

        async def page(request: Request) -> Response:
            root = request.scope.get("root_path", "")
            hours = int(_LIFETIME.total_seconds() // 3600)
            content = _PAGE.render(people=self.people, issuer=self.issuer_url, root=root, hours=hours)
            return HTMLResponse(content, headers=_HEADERS)

        async def script(_request: Request) -> Response:
            return Response(_SCRIPT, media_type="text/javascript", headers=_HEADERS)

        return Starlette(
            routes=[
                Route("/", page),
                Route("/page.js", script),
                Route("/token", self._answer_token, methods=["POST"]),
                Route("/jwks.json", keys),
                Route("/.well-known/openid-configuration", discovery),
            ],
            middleware=[
                # A page elsewhere could resolve its own name to 127.0.0.1 and read tokens through a browser.
                Middleware(TrustedHostMiddleware, allowed_hosts=list(_LOCAL_NAMES), www_redirect=False),
                Middleware(_LoopbackOnly),
            ],
        )

    async def _answer_token(self, request: Request) -> Response:
        user = await _asked_user(request)
        if not user or len(user) > _LONGEST_NAME or not user.isprintable():
            explanation = "Send `user`, an Identity Store user name, as a form field or in a JSON object."
            problem = {"error": "invalid_request", "error_description": explanation}
            return JSONResponse(problem, status_code=400, headers=_HEADERS)
        token = self.mint(user)
        if "text/plain" in request.headers.get("Accept", ""):
            return PlainTextResponse(token, headers=_HEADERS)
        lifetime = int(_LIFETIME.total_seconds())
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": lifetime}
        return JSONResponse(answer, headers=_HEADERS)


def subject_of(user: str) -> str:
    """The same opaque `sub` for the same person for ever."""
    return f"dev-{hashlib.sha256(user.encode()).hexdigest()[:20]}"


class _LoopbackOnly:
    """Answers 403 to other machines, whatever address the server was bound to by mistake."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_loopback((scope.get("client") or ("",))[0]):
            refusal = PlainTextResponse("The development issuer answers this machine only.", 403)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _refuse_outside_development(issuer_url: str, environment: str) -> None:
    if environment == "production":
        raise DevelopmentIssuerRefused(
            "The development issuer signs tokens for anybody and does not run in production. "
            "Set JIT_ENV to another value, or name a real issuer in the settings."
        )
    host = urlsplit(issuer_url).hostname or ""
    if host != "localhost" and not _is_loopback(host):
        raise DevelopmentIssuerRefused(
            f"The development issuer must be bound to loopback, not to {host or issuer_url!r}."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _asked_user(request: Request) -> str | None:
    if request.headers.get("Content-Type", "").startswith("application/json"):
        try:
            body = await request.json()
        except ValueError:
            return None
        user = body.get("user") if isinstance(body, dict) else None
    else:
        fields = dict(parse_qsl((await request.body()).decode(errors="replace")))
        user = fields.get("user")
    return user if isinstance(user, str) else None


def _load_or_make_key(data: Path) -> ECKey:
    path = data / "issuer-key.json"
    if not path.exists():
        data.mkdir(parents=True, exist_ok=True)
        key = ECKey.generate_key("P-256", private=True)
        staging = data / f"issuer-key.{secrets.token_hex(4)}"
        with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(key.as_dict(private=True), file)
        staging.rename(path)  # complete or not there
    stored = ECKey.import_key(json.loads(path.read_text()))
    stored.ensure_kid()  # the key's RFC 7638 thumbprint
    return stored
