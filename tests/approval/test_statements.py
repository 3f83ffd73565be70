"""What one vote asks the database, in order: each statement is a way there and back under the ticket's lock.

Whoever adds one says here which, and for which votes.
"""

from typing import Final

from shared.http.web import etag
from shared.runtime.service import Service
from tests.approval.requests import Desk
from tests.approval.test_extensions import reviewed, wanted
from tests.approval.test_http_decisions import two_of_them
from tests.support.statements import statements

BEFORE: Final = ("BEGIN;", "INSERT INTO idempotency_key", "SELECT whole FROM locked_review($1)")
ROWS: Final = ("WITH used_up AS ( INSERT INTO review_voter", "WITH people AS ( UPDATE review_person")
AFTER: Final = ("UPDATE idempotency_key", "INSERT INTO outbox", "COMMIT;")
BACKGROUND: Final = ("SELECT g.beneficiary, g.ends_at", "SELECT closed_at AS at")
APPROVERS: Final = ("WITH others AS ( UPDATE review_person",)
LATER_END: Final = ("UPDATE live_grant SET ends_at",)

ANY: Final = (*BEFORE, *ROWS, *AFTER)
OPENING: Final = (*BEFORE, *BACKGROUND, *ROWS, *APPROVERS, *AFTER)
EXTENDING: Final = (*BEFORE, *ROWS, *LATER_END, *AFTER)


async def check_vote(
    desk: Desk, who: str, review_id: str, verdict: str = "approve", *, asks: tuple[str, ...], state: str
) -> None:
    """The vote counts and asks these statements, known by how they begin, and no other."""
    version = (await desk.review(review_id)).version
    async with statements(desk.service.context.pool) as sent:
        answer = await desk.decide(
            who, review_id, verdict, "not today", If_Match=etag(version), Idempotency_Key=who
        )
    assert (answer.status_code, answer.json().get("state")) == (201, state)
    begun = [one[: len(start)] for one, start in zip(sent, asks, strict=False)]
    assert (begun, len(sent)) == (list(asks), len(asks)), sent


async def test_vote_that_opens_a_stage_and_the_one_that_approves(desk: Desk) -> None:
    (review,) = await desk.submitted()
    await check_vote(desk, "carl", review.id, asks=OPENING, state="open")
    await check_vote(desk, "dora", review.id, asks=ANY, state="approved")


async def test_vote_after_which_the_same_stage_waits_for_another(desk: Desk, service: Service) -> None:
    two_of_them(service, needed=2)
    (review,) = await desk.submitted()
    await check_vote(desk, "carl", review.id, asks=ANY, state="open")


async def test_vote_that_rejects(desk: Desk) -> None:
    (review,) = await desk.submitted()
    await check_vote(desk, "carl", review.id, "reject", asks=ANY, state="rejected")


async def test_vote_that_approves_an_extension_moves_the_ends_too(desk: Desk) -> None:
    review = await reviewed(desk, wanted())
    await check_vote(desk, "carl", review.id, asks=OPENING, state="open")
    await check_vote(desk, "dora", review.id, asks=EXTENDING, state="approved")
