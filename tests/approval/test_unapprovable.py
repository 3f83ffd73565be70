"""An open review that too few people are left for: shown, alerted while it lasts, cleared when it is over."""

from datetime import timedelta

import pytest

from services.approval.background import refresh_reviews
from services.approval.domain.review import Review
from shared.contracts.approval import ReviewFact
from shared.contracts.documents import Document
from shared.contracts.stop import TicketWithdrawn
from shared.foundation.clock import ManualClock
from shared.observability.alerts import Alerts
from shared.runtime.service import Service
from tests.approval.builders import put_documents, ticket
from tests.approval.requests import Desk
from tests.support import organisation as org
from tests.support.harness import NOW, said
from tests.support.stops import stop_of
from tests.support.work import deliver


def owners(service: Service, *names: str, revision: int, disabled: bool = False) -> None:
    """Let the inventory say who owns production, and perhaps that carl and cora are disabled."""
    changed: list[Document] = [
        *org.members(org.group_id("owners-prod"), *map(org.user_id, names), revision=revision)
    ]
    if disabled:
        changed += [
            org.user(name).model_copy(update={"enabled": False, "revision": revision})
            for name in ("carl", "cora")
        ]
    put_documents(service.context.tables, "provisioner", org.replaced("provisioner", *changed))


async def since(desk: Desk, review: Review) -> str | None:
    body = (await desk.get("root", f"/v1/reviews/{review.id}")).json()
    (item,) = (await desk.get("root", "/v1/reviews", waiting_for="all")).json()["items"]
    assert item["unapprovable_since"] == body["unapprovable_since"]
    found: str | None = body["unapprovable_since"]
    return found


def alerts(service: Service) -> list[str]:
    return [one.key for one in service.context.alerts.active if one.key.startswith("review_unapprovable/")]


@pytest.mark.parametrize("disabled", [False, True], ids=["removed from the group", "disabled"])
async def test_review_without_anybody_left_is_shown_and_alerted_once(
    desk: Desk, service: Service, clock: ManualClock, *, disabled: bool
) -> None:
    (review,) = await desk.submitted()
    await refresh_reviews(service.context)
    assert (await since(desk, review), alerts(service)) == (None, [])
    members = ("carl", "cora") if disabled else ()
    owners(service, *members, revision=98, disabled=disabled)
    await refresh_reviews(service.context)
    clock.advance(timedelta(minutes=1))
    await refresh_reviews(service.context)
    assert await since(desk, review) == NOW.isoformat().replace("+00:00", "Z"), "since the first time"
    assert alerts(service) == [f"review_unapprovable/{review.id}"]
    (alert,) = service.context.alerts.active
    assert review.ticket_id in alert.detail
    assert "prod-payments" in alert.detail
    assert (await desk.review(review.id)).version == review.version, "nothing was decided"


async def test_review_that_somebody_can_decide_again_is_cleared(desk: Desk, service: Service) -> None:
    (review,) = await desk.submitted()
    owners(service, revision=98)
    await refresh_reviews(service.context)
    owners(service, "cora", revision=99)
    await refresh_reviews(service.context)
    assert (await since(desk, review), alerts(service)) == (None, [])
    assert (await desk.decide("cora", review.id)).status_code == 201


async def test_review_whose_second_stage_lost_its_people_is_alerted_while_the_first_is_open(
    desk: Desk, service: Service
) -> None:
    """Carl could still reject it; approve it nobody can."""
    (review,) = await desk.submitted()
    nobody = org.members(org.group_id("secops"), revision=98)
    put_documents(service.context.tables, "provisioner", org.replaced("provisioner", *nobody))
    await refresh_reviews(service.context)
    assert alerts(service) == [f"review_unapprovable/{review.id}"]
    assert (await desk.decide("carl", review.id)).json()["code"] == "would_block"
    assert (await desk.decide("carl", review.id, "reject", "nobody could")).status_code == 201
    await refresh_reviews(service.context)
    assert alerts(service) == []


async def test_alert_of_a_review_that_was_stopped_or_is_out_of_time_is_cleared(
    desk: Desk, service: Service, clock: ManualClock
) -> None:
    of = ticket()
    await desk.submitted(of)
    (late,) = await desk.submitted(ticket(expires_at=NOW + timedelta(hours=1)))
    owners(service, revision=98)
    await refresh_reviews(service.context)
    assert len(alerts(service)) == 2
    await deliver(service, stop_of(TicketWithdrawn, of))
    await refresh_reviews(service.context)
    assert alerts(service) == [f"review_unapprovable/{late.id}"]
    clock.advance(timedelta(hours=1))
    await refresh_reviews(service.context)
    assert alerts(service) == []


async def test_alert_stands_again_after_a_start(desk: Desk, service: Service) -> None:
    (review,) = await desk.submitted()
    owners(service, revision=98)
    await refresh_reviews(service.context)
    service.context.alerts = Alerts(service="approval", clock=service.context.clock, channels=[])
    await refresh_reviews(service.context)
    assert alerts(service) == [f"review_unapprovable/{review.id}"]


async def test_refresh_of_a_review_without_people_publishes_nothing(desk: Desk, service: Service) -> None:
    await desk.submitted()
    before = await said(service, ReviewFact)
    owners(service, revision=98)
    await refresh_reviews(service.context)
    assert await said(service, ReviewFact) == before
