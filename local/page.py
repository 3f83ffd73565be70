"""What the demo says of itself: its people, the page at `/` and the lines on the terminal."""

import re
from collections.abc import Mapping
from html import escape

AUDIENCE = "jit"
PEOPLE = {
    "ann": "software engineer (dev): asks for access",
    "bob": "engineering manager (dev, managers): asks for others, decides on development",
    "carl": "head of production (owners-prod): first stage on production",
    "dora": "security engineer (secops): second stage on production",
    "eve": "contractor (dev, contractors): may not touch production",
    "root": "administrator (admins): catalogue, scopes, rules, terminate; may not approve",
    "aud": "auditor (auditors): reads everything",
}
"""The people of the demo, as the issuer offers them."""


def front_page(url: str, simulator_url: str, people: Mapping[str, str]) -> str:
    rows = "".join(
        f"<tr><td><b>{escape(name)}</b></td><td>{escape(what)}</td></tr>" for name, what in people.items()
    )
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>JIT, embedded</title>
<style>body {{font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem}}
td {{padding: .2rem 1rem .2rem 0}} code {{background: #f4f4f4; padding: .1rem .3rem}}</style>
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
<p>The walk-through is in the README. A token:
<code>curl -s -H 'Accept: text/plain' -d user=ann {escape(url)}/issuer/token</code></p>
"""


_LINK = re.compile(r"/(tickets|reviews)/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


def link_page(url: str, path: str) -> str | None:
    """What a link in a mail opens: how to look and decide with curl. It only shows; it never acts.

    None for what is no such link: its text would otherwise be copied into somebody's shell.
    """
    match = _LINK.fullmatch(path)
    if match is None:
        return None
    noun, identity = match.groups()
    look = f'curl -s -H "Authorization: Bearer $TOKEN" {url}/v1/{noun}/{identity}'
    vote = (
        f"{look}/decisions -H 'If-Match: \"VERSION\"' -H 'Content-Type: application/json' "
        """-d '{"verdict": "approve", "comment": "..."}'"""
    )
    token = f"TOKEN=$(curl -s -H 'Accept: text/plain' -d user=NAME {url}/issuer/token)"
    commands = [token, look, *([vote] if noun == "reviews" else [])]
    shown = "".join(f"<pre>{escape(command, quote=False)}</pre>" for command in commands)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>JIT: {noun}</title>
<style>body {{font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem}}
pre {{background: #f4f4f4; padding: .6rem; white-space: pre-wrap}}</style>
<h1>{noun.capitalize()[:-1]} {identity}</h1>
<p>There are no pages for people yet; this is the API's way to look and to decide. Opening a link changes
nothing. VERSION is the <code>version</code> of the review as you have read it.</p>
{shown}
"""


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
