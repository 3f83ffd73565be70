"""The mailbox as pages and JSON: an ASGI app to be mounted anywhere under one origin.

Everything in a message is hostile: text is escaped, HTML is shown only inside a sandboxed frame whose own
policy forbids scripts, forms and every load. Reads mailbox.py, changes nothing.
"""

import re
from collections.abc import Iterable

from jinja2 import DictLoader, Environment
from markupsafe import Markup, escape
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from local.look import HEAD
from local.mailbox import Mail, Mailbox

_LINK = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:!?)\]]")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; frame-src 'self'; base-uri 'none'"
)
_MAIL_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"

_TEMPLATES = {
    "page": f"""<!doctype html><html lang="en"><head><title>{{% block title %}}{{% endblock %}}</title>
{HEAD}</head><body><main>{{% block body %}}{{% endblock %}}</main></body></html>""",
    "list": """{% extends "page" %}{% block title %}Mailbox{% endblock %}{% block body %}
<h1>Mailbox</h1><p>{{ count }} message(s). Nothing here has left this machine.
<a href="{{ root }}/api/v1/messages">JSON</a></p>
{% for thread in threads %}<h2>{{ thread[-1].receipt.subject or "(no subject)" }}</h2><table>
{% for mail in thread %}<tr><td class="when">{{ mail.receipt.received_at[:19] | replace("T", " ") }}</td>
<td>{{ mail.receipt.recipients | join(", ") }}</td>
<td><a href="{{ root }}/messages/{{ mail.receipt.id }}">{{ mail.receipt.subject or "(no subject)" }}</a></td>
</tr>
{% endfor %}</table>{% endfor %}{% endblock %}""",
    "mail": """{% extends "page" %}{% block title %}{{ mail.receipt.subject }}{% endblock %}{% block body %}
<p><a href="{{ root }}/">Mailbox</a></p><h1>{{ mail.receipt.subject or "(no subject)" }}</h1><table>
{% for name in names %}<tr><td class="name">{{ name }}</td><td>{{ mail.header(name) }}</td></tr>{% endfor %}
<tr><td class="name">Received</td>
<td>{{ mail.receipt.received_at }} for {{ mail.receipt.recipients | join(", ") }}</td></tr>
</table><p><a href="{{ root }}/messages/{{ mail.receipt.id }}/raw">Raw message</a></p>
{% if text is not none %}<h2>Text</h2><pre>{{ text }}</pre>{% endif %}
{% if mail.html is not none %}<h2>HTML</h2>
<iframe sandbox title="HTML part" src="{{ root }}/messages/{{ mail.receipt.id }}/html"></iframe>{% endif %}
{% endblock %}""",
}
_PAGES = Environment(loader=DictLoader(_TEMPLATES), autoescape=True)


def mailbox_app(mailbox: Mailbox) -> Starlette:
    """`/` list, `/messages/{id}` with `/html` and `/raw`, and `GET /api/v1/messages?to=&after=`."""

    async def listing(request: Request) -> Response:
        mails = mailbox.mails()
        return _page(request, "list", count=len(mails), threads=_threads(mails))

    async def message(request: Request) -> Response:
        mail = _asked(mailbox, request)
        text = None if mail.text is None else _with_links(mail.text)
        return _page(request, "mail", mail=mail, text=text, names=("From", "To", "Date", "Message-ID"))

    async def html(request: Request) -> Response:
        content = _asked(mailbox, request).html or ""
        return HTMLResponse(content, headers=_HEADERS | {"Content-Security-Policy": _MAIL_POLICY})

    async def raw(request: Request) -> Response:
        headers = _HEADERS | {"Content-Security-Policy": _MAIL_POLICY}
        return Response(_asked(mailbox, request).raw, media_type="text/plain", headers=headers)

    async def messages(request: Request) -> Response:
        found = _selected(mailbox.mails(), request)
        return JSONResponse({"messages": [_as_json(mail) for mail in found]}, headers=_HEADERS)

    return Starlette(
        routes=[
            Route("/", listing),
            Route("/messages/{id:int}", message),
            Route("/messages/{id:int}/html", html),
            Route("/messages/{id:int}/raw", raw),
            Route("/api/v1/messages", messages),
        ]
    )


def _page(request: Request, template: str, **values: object) -> HTMLResponse:
    content = _PAGES.get_template(template).render(root=request.scope.get("root_path", ""), **values)
    return HTMLResponse(content, headers=_HEADERS | {"Content-Security-Policy": _PAGE_POLICY})


def _asked(mailbox: Mailbox, request: Request) -> Mail:
    mail = mailbox.mail(request.path_params["id"])
    if mail is None:
        raise HTTPException(404, "No such message.")
    return mail


def _threads(mails: Iterable[Mail]) -> list[list[Mail]]:
    """Messages by thread, newest first in it, the thread with the newest message first."""
    threads: dict[str, list[Mail]] = {}
    for mail in reversed(list(mails)):
        threads.setdefault(mail.thread, []).append(mail)
    return list(threads.values())


def _selected(mails: Iterable[Mail], request: Request) -> list[Mail]:
    """Oldest first: `to` keeps one recipient's, `after` those received after the message with that id."""
    recipient = request.query_params.get("to")
    try:
        after = int(request.query_params.get("after", "0"))
    except ValueError as error:
        raise HTTPException(400, "`after` must be the id of a message.") from error
    return [
        mail
        for mail in mails
        if mail.receipt.id > after and (recipient is None or recipient in mail.receipt.recipients)
    ]


def _as_json(mail: Mail) -> dict[str, object]:
    return {
        "id": mail.receipt.id,
        "message_id": mail.receipt.message_id,
        "thread": mail.thread,
        "from": mail.header("From"),
        "to": mail.header("To"),
        "recipients": mail.receipt.recipients,
        "subject": mail.receipt.subject,
        "date": mail.date,
        "received_at": mail.receipt.received_at,
        "text": mail.text,
        "html": mail.html,
    }


def _with_links(text: str) -> Markup:
    """Escaped text whose http(s) addresses can be clicked."""
    parts: list[Markup] = []
    end = 0
    for match in _LINK.finditer(text):
        parts.append(escape(text[end : match.start()]))
        link = '<a href="{}" rel="noopener noreferrer" target="_blank">{}</a>'
        parts.append(Markup(link).format(match[0], match[0]))  # noqa: S704 - a constant; format escapes
        end = match.end()
    return Markup("").join([*parts, escape(text[end:])])
