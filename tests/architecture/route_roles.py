"""Who gets past authorisation on which route. A new route needs a row here before it needs anything else.

`past` means: not 401 and not 403; what is then decided about the object is the command's business and is
tested with it. ann is a plain person, carl approves for production, root administers, aud audits.
"""

from typing import Final

from shared.configuration.kinds.every import kinds_of

NOBODY: Final[frozenset[str]] = frozenset()
EVERYBODY: Final = frozenset({"ann", "carl", "root", "aud"})
READERS: Final = frozenset({"root", "aud"})
ADMINS: Final = frozenset({"root"})

OPEN: Final = frozenset({"GET /livez", "GET /readyz", "GET /metrics", "GET /openapi.json"})
"""Without a token, on every service; they tell nothing about people or tickets. This list only shrinks."""

STOPS: Final = frozenset(
    {
        "POST /v1/tickets/{ticket_id}/withdraw",
        "POST /v1/tickets/{ticket_id}/return",
        "POST /v1/tickets/{ticket_id}/terminate",
        "POST /v1/revocations",
        "POST /v1/grants/pause",
    }
)
"""Routes that take access away, or keep it from being given: they work on tables that are stale, and are not
counted."""

LIVE: Final = frozenset({"GET /v1/grants", "GET /v1/grants/{grant_id}", "GET /v1/operations"})
"""Routes that show what is live: who stops access on stale tables has to see it. This list only shrinks."""


def _operations(service: str, *, documents: bool) -> dict[str, frozenset[str]]:
    base = f"/v1/ops/{service}"
    return {
        f"GET {base}/dead-letters": READERS,
        f"GET {base}/alerts": READERS,
        f"POST {base}/dead-letters/{{letter_id}}/replay": ADMINS,
        f"POST {base}/outbox/replay": ADMINS,
        **({f"POST {base}/documents/republish": ADMINS} if documents else {}),
    }


def _configuration(owner: str) -> dict[str, frozenset[str]]:
    """A kind's own file says who may read it; whoever configures may write everything."""
    found: dict[str, frozenset[str]] = {}
    for kind in kinds_of(owner):
        readers = EVERYBODY if kind.everybody_reads else READERS
        one = f"/v1/{kind.path}/{{{kind.id_name}}}"
        found |= {f"GET /v1/{kind.path}": readers, f"GET {one}": readers}
        found |= {f"PUT {one}": ADMINS, f"DELETE {one}": ADMINS, f"POST {one}/plan": ADMINS}
    return found


ROLES: Final[dict[str, dict[str, frozenset[str]]]] = {
    "ticket": {
        "POST /v1/tickets": EVERYBODY,
        "POST /v1/tickets/preview": EVERYBODY,
        "GET /v1/tickets": EVERYBODY,
        "GET /v1/tickets/{ticket_id}": EVERYBODY,
        "GET /v1/tickets/{ticket_id}/revisions": EVERYBODY,
        "POST /v1/tickets/{ticket_id}/withdraw": EVERYBODY,
        "POST /v1/tickets/{ticket_id}/return": EVERYBODY,
        "POST /v1/tickets/{ticket_id}/terminate": EVERYBODY,
        **_configuration("ticket"),
        **_operations("ticket", documents=True),
    },
    "approval": {
        "GET /v1/reviews": EVERYBODY,
        "GET /v1/tickets/{ticket_id}/reviews": EVERYBODY,
        "GET /v1/reviews/{review_id}": EVERYBODY,
        "POST /v1/reviews/{review_id}/decisions": EVERYBODY,
        **_configuration("approval"),
        **_operations("approval", documents=True),
    },
    "provisioner": {
        "GET /v1/grants": EVERYBODY,
        "GET /v1/grants/{grant_id}": EVERYBODY,
        "POST /v1/revocations": ADMINS,
        "POST /v1/grants/pause": ADMINS,
        "POST /v1/grants/resume": ADMINS,
        "GET /v1/inventory": READERS,
        "POST /v1/inventory/sync": ADMINS,
        "POST /v1/inventory/confirm": ADMINS,
        "GET /v1/operations": READERS,
        "GET /v1/me": EVERYBODY,
        "GET /v1/me/targets": EVERYBODY,
        "GET /v1/users": READERS,
        "GET /v1/groups": READERS,
        "GET /v1/ous": READERS,
        "GET /v1/tags": READERS,
        "GET /v1/bindings/conflicts": READERS,
        "POST /v1/bindings/{conflict_id}/rebind": ADMINS,
        **_operations("provisioner", documents=True),
    },
    "notifier": {
        "GET /v1/deliveries": READERS,
        "POST /v1/deliveries/{delivery_id}/retry": ADMINS,
        **_operations("notifier", documents=False),
    },
    "audit": {
        "GET /v1/audit/events": READERS,
        "GET /v1/audit/events/{sequence}": READERS,
        "GET /v1/audit/tickets/{ticket_id}": EVERYBODY,
        "GET /v1/audit/export": READERS,
        **_operations("audit", documents=False),
    },
}
