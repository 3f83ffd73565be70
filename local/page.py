"""What the demo says of itself: its people, the page at `/` and the lines on the terminal."""

import re
from collections.abc import Iterator, Mapping
from html import escape

from local.look import HEAD

AUDIENCE = "jit"
PEOPLE = {
    "ann": "software engineer (dev): asks for access",
    "bob": "engineering manager (dev, managers): asks for others, decides on development",
    "carl": "head of production (owners-prod): first stage on production",
    "dora": "security engineer (secops): second stage on production",
    "eve": "contractor (dev, contractors): may not touch production",
    "root": "administrator (admins): catalog, scopes, rules, terminate; may not approve",
    "aud": "auditor (auditors): reads everything",
}
"""The people of the demo, as the issuer offers them."""


def front_page(url: str, simulator_url: str, people: Mapping[str, str]) -> str:
    rows = "".join(
        f'<tr><td class="name">{escape(name)}</td><td>{escape(what)}</td></tr>'
        for name, what in people.items()
    )
    return f"""<!doctype html><html lang="en"><head><title>JIT, embedded</title>{HEAD}</head><body>
<h1>JIT is running</h1>
<p>Temporary access to AWS accounts. This is the embedded run, with a stand-in for AWS.</p>
<ul>
<li><a href="/mailbox/">Mailbox</a>: every mail that was sent</li>
<li><a href="/issuer/">Tokens</a> for the people below</li>
<li><a href="{escape(simulator_url)}/_sim/assignments">Assignments</a> and
<a href="{escape(simulator_url)}/_sim/calls">calls</a> at the simulator, as AWS would know them</li>
<li><a href="/docs">API</a> and its <a href="/openapi.json">OpenAPI document</a>;
<a href="/readyz">readiness</a></li>
</ul>
<table>{rows}</table>
<p>The walk-through is in the README. A token:</p>
<pre>curl -s -H 'Accept: text/plain' -d user=ann {escape(url)}/issuer/token</pre>
</body></html>
"""


LINKED = ("tickets", "reviews")
_LINK = re.compile(rf"/({'|'.join(LINKED)})/([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})")


def link_page(url: str, path: str) -> str | None:
    """What a link in a mail opens: how to look and decide with curl. It only shows; it never acts.

    None for what is no such link: its text would otherwise be copied into somebody's shell.
    """
    match = _LINK.fullmatch(path)
    if match is None:
        return None
    noun, identity = match.groups()
    steps = _steps(url, noun, identity)
    shown = "".join(f"<h2>{title}</h2><pre>{escape(shell, quote=False)}</pre>" for title, shell in steps)
    heading = f"{noun.capitalize()[:-1]} {identity}"
    return f"""<!doctype html><html lang="en"><head><title>JIT: {noun}</title>{HEAD}</head><body>
<h1>{heading}</h1>
<p>There are no pages for people yet; this is the API's way to look and to decide. Opening a link changes
nothing.</p>
{shown}
</body></html>
"""


def _steps(url: str, noun: str, identity: str) -> Iterator[tuple[str, str]]:
    """What to paste. A vote names the version that was shown, so that nobody decides on what has changed."""
    look = f'curl -s -H "Authorization: Bearer $TOKEN" {url}/v1/{noun}/{identity}'
    yield "Get a token", f"TOKEN=$(curl -s -H 'Accept: text/plain' -d user=NAME {url}/issuer/token)"
    if noun == "tickets":
        yield "Look", look
        return
    yield "Look", f"""SHOWN=$({look} -i); printf '%s\\n' "$SHOWN\""""
    version = """$(printf '%s\\n' "$SHOWN" | tr -d '\\r' | sed -n 's/^[Ee][Tt]ag: //p')"""
    vote = f"""{look}/decisions -H "If-Match: {version}" -H 'Content-Type: application/json'"""
    yield "Decide on what was shown", f"""{vote} -d '{{"verdict": "approve", "comment": "..."}}'"""


def terminal_text(url: str, simulator_url: str, people: Mapping[str, str], data: str) -> str:
    width = max(len(name) for name in people)
    lines = "\n".join(f"    {name:<{width}}  {what}" for name, what in people.items())
    return f"""
JIT is running.

  Start page   {url}/
  Mailbox      {url}/mailbox/
  Tokens       {url}/issuer/
  Simulator    {simulator_url}/_sim/assignments   (AWS's stand-in; point the AWS CLI at {simulator_url})
  Data         {data}   (delete it to start anew)

  People, each with a token for the asking:
{lines}

    curl -s -H 'Accept: text/plain' -d user=ann {url}/issuer/token

  The walk-through in README.md goes from here. Stop with Ctrl-C; everything is kept.
"""
