"""The walk-through's calls with a client generated from docs/openapi/jit.json. Checked by mypy --strict."""

import os
import time
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

import httpx
from jit_client.api.audit import list_records_of_ticket
from jit_client.api.provisioner import list_grants
from jit_client.api.reviews import decide_review, list_reviews, show_review
from jit_client.api.tickets import preview_ticket, show_ticket, submit_ticket, terminate_ticket
from jit_client.client import AuthenticatedClient
from jit_client.models.decision_body import DecisionBody
from jit_client.models.decision_body_verdict import DecisionBodyVerdict
from jit_client.models.problem import Problem
from jit_client.models.target_body import TargetBody
from jit_client.models.terminate_body import TerminateBody
from jit_client.models.ticket_body import TicketBody
from jit_client.models.ticket_state import TicketState

URL = os.environ["JIT_URL"]
AnswerT = TypeVar("AnswerT")


def as_(user: str) -> AuthenticatedClient:
    answer = httpx.post(f"{URL}/issuer/token", data={"user": user}, headers={"Accept": "text/plain"})
    return AuthenticatedClient(base_url=URL, token=answer.text.strip(), raise_on_unexpected_status=True)


def good(answer: "AnswerT | Problem | None") -> AnswerT:
    if answer is None or isinstance(answer, Problem):
        raise AssertionError(answer)
    return answer


def until(look: Callable[[], AnswerT | None]) -> AnswerT:
    for _ in range(300):
        if (found := look()) is not None:
            return found
        time.sleep(0.2)
    raise AssertionError("waited for a minute")


def walk() -> None:
    ann, root, aud = as_("ann"), as_("root"), as_("aud")
    wanted = TicketBody(
        targets=[TargetBody(account=os.environ["JIT_ACCOUNT"], set_=os.environ["JIT_SET"])],
        reason="Look into INC-4711: orders are not shipped",
        duration="1h",
    )
    plan = good(preview_ticket.sync(client=ann, body=wanted))
    assert plan.acceptable
    assert plan.duration == "PT1H"
    key = f"walk-{time.monotonic_ns()}"
    ticket = good(submit_ticket.sync(client=ann, body=wanted, idempotency_key=key))
    assert good(submit_ticket.sync(client=ann, body=wanted, idempotency_key=key)).id == ticket.id
    ticket_id = UUID(ticket.id)
    for name in ("carl", "dora"):
        decide(as_(name), ticket.id)
    until(lambda: good(show_ticket.sync(ticket_id, client=ann)).state == TicketState.ACTIVE or None)
    grants = good(list_grants.sync(client=ann, ticket_id=ticket_id))
    assert len(grants.items) == 1
    assert grants.next_cursor is None
    ended = good(terminate_ticket.sync(ticket_id, client=root, body=TerminateBody(reason="the walk ends")))
    assert len(ended.ending) == 1
    until(lambda: "access.revoked" in codes(aud, ticket.id) or None)


def decide(approver: AuthenticatedClient, ticket_id: str) -> None:
    def look() -> UUID | None:
        waiting = good(list_reviews.sync(client=approver)).items
        return next((UUID(one.id) for one in waiting if one.ticket_id == ticket_id), None)

    review_id = until(look)
    shown = show_review.sync_detailed(review_id, client=approver)
    assert good(shown.parsed).you_may_decide
    body = DecisionBody(verdict=DecisionBodyVerdict.APPROVE, comment="the change is planned")
    good(decide_review.sync(review_id, client=approver, body=body, if_match=shown.headers["ETag"]))


def codes(auditor: AuthenticatedClient, ticket_id: str) -> set[str]:
    trail = good(list_records_of_ticket.sync(ticket_id, client=auditor))
    return {str(one.metadata["event_code"]) for one in trail.items}


if __name__ == "__main__":
    walk()
    print("walked")
