"""Using the approval service over HTTP as somebody, on tickets that were submitted to it."""

import json
from typing import Any

from httpx2 import Response

from local.issuer import DevelopmentIssuer
from services.approval import views
from services.approval.domain.review import Review
from shared.contracts.event import Actor
from shared.contracts.ticket import Ticket, TicketSubmitted
from shared.http.web import etag
from shared.runtime.service import Service
from tests.approval.builders import ticket
from tests.support.http import api
from tests.support.work import deliver


class Desk:
    """The service with its issuer; each call is made by a named person."""

    def __init__(self, service: Service, issuer: DevelopmentIssuer) -> None:
        self.service = service
        self._issuer = issuer

    async def submitted(self, of: Ticket | None = None) -> list[Review]:
        """Deliver a ticket's submit (ann's, admin on P); returns the reviews it opened."""
        of = of or ticket()
        fact = TicketSubmitted(
            subject=of.id,
            version=of.version,
            actor=Actor.service("ticket"),
            at=self.service.context.clock.now(),
            ticket=of,
        )
        await deliver(self.service, fact)
        return await self.reviews_of(of.id)

    async def reviews_of(self, ticket_id: str) -> list[Review]:
        """All reviews of a ticket, oldest first."""
        async with self.service.context.pool.acquire() as conn:
            return await views.reviews_of_ticket(conn, ticket_id)

    async def review(self, review_id: str) -> Review:
        async with self.service.context.pool.acquire() as conn:
            found = await views.review(conn, review_id)
        assert found is not None
        return found

    async def get(self, who: str | None, path: str, **params: Any) -> Response:
        async with api(self.service, self._issuer, who) as client:
            return await client.get(path, params=params)

    async def put(self, who: str, path: str, body: Any, **headers: str) -> Response:
        async with api(self.service, self._issuer, who) as client:
            return await client.put(path, json=body, headers=_named(headers))

    async def delete(self, who: str, path: str, **headers: str) -> Response:
        async with api(self.service, self._issuer, who) as client:
            return await client.delete(path, headers=_named(headers))

    async def decide(
        self, who: str | None, review_id: str, verdict: str = "approve", comment: str = "", **headers: str
    ) -> Response:
        """Vote; on the version that is there now unless `If_Match` says otherwise (empty: no header)."""
        sent = headers if "If_Match" in headers else headers | {"If_Match": await self.version(review_id)}
        async with api(self.service, self._issuer, who) as client:
            return await client.post(
                f"/v1/reviews/{review_id}/decisions",
                json={"verdict": verdict, "comment": comment},
                headers=_named({name: value for name, value in sent.items() if value}),
            )

    async def version(self, review_id: str) -> str:
        """The ETag of the review now; of one that is not there, that of a first version."""
        async with self.service.context.pool.acquire() as conn:
            found = await views.review(conn, review_id)
        return etag(found.version if found else 1)

    async def post_raw(self, who: str, review_id: str, body: object) -> Response:
        """A vote whose body is sent as it is, with everything beyond ASCII escaped."""
        headers = {"If-Match": await self.version(review_id), "Content-Type": "application/json"}
        async with api(self.service, self._issuer, who) as client:
            path = f"/v1/reviews/{review_id}/decisions"
            return await client.post(path, content=json.dumps(body), headers=headers)


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
