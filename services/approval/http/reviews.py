"""Routes for reviews and decisions. Whose review it is gets decided on the review, not on the route."""

from functools import partial
from typing import Literal
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import Field

from services.approval import views
from services.approval.commands import decisions
from services.approval.domain import eligibility
from services.approval.domain.review import Review, ReviewState
from services.approval.http.shapes import DecisionShown, ReviewShown, ReviewWhole
from shared.context import Context
from shared.foundation.errors import Denied, NotFound
from shared.foundation.shapes import Body
from shared.http.access import PERSON, Caller, requires
from shared.http.conditions import IfMatch, expected_version
from shared.http.idempotency import StoredAnswer
from shared.http.openapi import success
from shared.http.pages import IdCursor, Page, encode_cursor
from shared.http.parameters import Limit
from shared.http.routers import make_router
from shared.http.web import etag
from shared.http.writes import write
from shared.text.texts import Paragraph


class DecisionBody(Body):
    """One vote. A rejection needs a comment of at least 3 characters."""

    verdict: Literal["approve", "reject"] = Field(examples=["approve"])
    comment: Paragraph = Field(default="", examples=["INC-4711 is open, and Ann is on call"])


def router(context: Context) -> APIRouter:
    routes = make_router("reviews", "/v1")
    _add_lists(routes, context)
    _add_one(routes, context)
    return routes


def _add_lists(routes: APIRouter, context: Context) -> None:
    @routes.get("/reviews")
    async def list_reviews(
        waiting_for: Literal["me", "all"] = "me",
        state: ReviewState | None = None,
        cursor: IdCursor = None,
        limit: Limit = 50,
        caller: Caller = requires(PERSON),
    ) -> Page[ReviewShown]:
        """Reviews that wait for you, or all you have to do with.

        `me`: what you can decide now, oldest first. `all`: where you are a party, an approver or a voter,
        newest first; those who may read every ticket see everybody's.
        """
        fill = _waiting if waiting_for == "me" else _all
        found, following = await fill(context, caller, state=state, after=cursor, limit=limit)
        return Page[ReviewShown](
            items=[_shown(context, caller, one) for one in found],
            next_cursor=encode_cursor(following) if following else None,
        )

    @routes.get("/tickets/{ticket_id}/reviews")
    async def list_reviews_of_ticket(ticket_id: UUID, caller: Caller = requires(PERSON)) -> Page[ReviewShown]:
        """All reviews of one ticket that you may see, oldest first, voided ones and earlier revisions too."""
        async with context.pool.acquire() as conn:
            found = await views.reviews_of_ticket(conn, str(ticket_id))
        seen = [review for review in found if _may_see(context, caller, review)]
        if not seen:
            raise NotFound(
                "no reviews of such a ticket are known here, or they are not yours to see",
                code="ticket_unknown",
                denied=Denied("ticket.read", str(ticket_id)) if found else None,
            )
        return Page[ReviewShown](items=[_shown(context, caller, one) for one in seen], next_cursor=None)


def _add_one(routes: APIRouter, context: Context) -> None:
    @routes.get("/reviews/{review_id}", responses={200: success("ETag")})
    async def show_review(
        review_id: UUID, response: Response, caller: Caller = requires(PERSON)
    ) -> ReviewWhole:
        """A review with its stages, its votes and who may still decide. Its ETag is needed to decide."""
        async with context.pool.acquire() as conn:
            review = await views.review(conn, str(review_id))
        if review is None or not _may_see(context, caller, review):
            denied = Denied("ticket.read", review.ticket_id, object_id=review.id) if review else None
            raise NotFound(
                "there is no such review, or it is not yours to see", code="review_unknown", denied=denied
            )
        response.headers["ETag"] = etag(review.version)
        snapshot, now = context.policy.snapshot(), context.clock.now()
        return ReviewWhole.of(
            review,
            snapshot,
            you_may_decide=eligibility.may_decide(snapshot, review, caller.user_id, now),
            deciders=eligibility.deciders(snapshot, review, now),
            electorate=eligibility.electorate_now(snapshot, review, now),
        )

    @routes.post(
        "/reviews/{review_id}/decisions",
        status_code=201,
        response_model=DecisionShown,
        responses={201: success("ETag")},
    )
    async def decide_review(
        review_id: UUID, body: DecisionBody, if_match: IfMatch, caller: Caller = requires(PERSON)
    ) -> Response:
        """Approve or reject, as yourself and once per review. Needs If-Match with the review's ETag."""
        decision = decisions.Decision(body.verdict, body.comment, expected_version(if_match))
        return await write(
            context,
            caller,
            lambda work: decisions.decide(context, work, caller, str(review_id), decision),
            _show_decision,
        )


async def _waiting(
    context: Context, caller: Caller, *, state: ReviewState | None, after: str | None, limit: int
) -> tuple[list[Review], str | None]:
    if state not in (None, ReviewState.OPEN):
        return [], None  # nothing but an open review waits for anybody
    async with context.pool.acquire() as conn:

        async def fetch(after: str | None, size: int) -> list[Review]:
            return await views.waiting_for(conn, caller.user_id, after=after, limit=size)

        keep = partial(_may_decide, context, caller)
        return await views.fill_page(fetch, keep, after=after, limit=limit)


async def _all(
    context: Context, caller: Caller, *, state: ReviewState | None, after: str | None, limit: int
) -> tuple[list[Review], str | None]:
    everything = eligibility.sees_everything(context.policy.snapshot(), caller.user_id, context.clock.now())
    async with context.pool.acquire() as conn:

        async def fetch(before: str | None, size: int) -> list[Review]:
            whose = None if everything else caller.user_id
            return await views.all_reviews(conn, user_id=whose, state=state, before=before, limit=size)

        keep = partial(_may_see, context, caller)
        return await views.fill_page(fetch, keep, after=after, limit=limit)


def _may_see(context: Context, caller: Caller, review: Review) -> bool:
    return eligibility.may_see(context.policy.snapshot(), review, caller.user_id, context.clock.now())


def _may_decide(context: Context, caller: Caller, review: Review) -> bool:
    return eligibility.may_decide(context.policy.snapshot(), review, caller.user_id, context.clock.now())


def _show_decision(review: Review) -> StoredAnswer:
    """The review after a vote, which is its last."""
    body = DecisionShown.of(review).model_dump(mode="json")
    return StoredAnswer(201, body, {"ETag": etag(review.version)})


def _shown(context: Context, caller: Caller, review: Review) -> ReviewShown:
    may_decide = _may_decide(context, caller, review)
    return ReviewShown.of(review, context.policy.snapshot(), you_may_decide=may_decide)
