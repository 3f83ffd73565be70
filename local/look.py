"""How the demo's own pages look: one head that fits a phone and a dark screen, one icon, no scripts.

Pages are in page.py, mailbox_page.py and issuer.py; gateway.py and demo.py answer for the icon.
"""

from typing import Final

from starlette.responses import HTMLResponse, Response

ICON_PATHS: Final = frozenset({"/favicon.svg", "/favicon.ico"})
"""The second is what browsers ask for on their own, where they show JSON."""

HEAD: Final = """<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="/favicon.svg" type="image/svg+xml">
<style>
:root {color-scheme: light dark;
--back: #fff; --text: #1a1c1f; --soft: #f3f4f6; --line: #d5d8dd; --link: #0b57d0}
@media (prefers-color-scheme: dark) {
:root {--back: #15171a; --text: #e4e6ea; --soft: #22252a; --line: #3b4048; --link: #8ab4f8}
}
* {box-sizing: border-box}
body {background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; margin: 1.5rem auto;
max-width: 60rem; padding: 0 1rem; overflow-wrap: anywhere}
h1 {font-size: 1.6rem; line-height: 1.25} h2 {font-size: 1.05rem; margin: 1.5rem 0 .3rem}
a {color: var(--link)}
table {border-collapse: collapse; width: 100%}
td {border-top: 1px solid var(--line); padding: .35rem .8rem .35rem 0; vertical-align: top}
code, pre {background: var(--soft); border-radius: 4px; font-size: .875rem} code {padding: .1rem .3rem}
pre {padding: .8rem; white-space: pre-wrap}
button {font: inherit; padding: .2rem .8rem; white-space: nowrap}
button:focus-visible, a:focus-visible {outline: 2px solid var(--link)}
iframe {background: #fff; border: 1px solid var(--line); height: 32rem; width: 100%}
.name {font-weight: 600; white-space: nowrap} .when {white-space: nowrap}
@media (max-width: 40rem) {
table, tbody, tr, td {display: block} tr {border-top: 1px solid var(--line); padding: .5rem 0}
td {border: 0; padding: .1rem 0} .when {font-size: .875rem}
}
</style>"""

_ICON: Final = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<rect width="32" height="32" rx="7" fill="#0b57d0"/>
<path d="M16 7v9l6 4" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round"/>
</svg>"""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; base-uri 'none'"


def icon() -> Response:
    return Response(_ICON, media_type="image/svg+xml", headers={"Cache-Control": "max-age=3600"})


def page(content: str) -> HTMLResponse:
    """A page that may do nothing but be shown."""
    return HTMLResponse(content, headers={"Content-Security-Policy": _POLICY})
