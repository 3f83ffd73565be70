"""What the demo says of itself: its people, the page at `/` and the lines on the terminal."""

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
<li>API: <a href="/ticket/openapi.json">ticket</a>, <a href="/approval/openapi.json">approval</a>,
<a href="/provisioner/openapi.json">provisioner</a>, <a href="/notifier/openapi.json">notifier</a>,
<a href="/audit/openapi.json">audit</a>; <a href="/readyz">readiness</a></li>
</ul>
<table>{rows}</table>
<p>The walk-through is in the README. A token:
<code>curl -s -H 'Accept: text/plain' -d user=ann {escape(url)}/issuer/token</code></p>
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
