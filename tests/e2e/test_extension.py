"""A later end of live access: asked for, reviewed over HTTP, carried out by the provisioner, seen in AWS.

There is no route to ask yet: tests/support/unrouted.py calls the command on the running service.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.contracts.extension import Extension
from shared.contracts.ticket import Ticket
from shared.contracts.windows import Window
from shared.foundation.clock import new_id
from tests.support import forging
from tests.support.forging import forge
from tests.support.running import Running, as_read, until
from tests.support.together import together
from tests.support.unrouted import ask_again, ask_later_end

pytestmark = pytest.mark.e2e

HOUR = timedelta(hours=1)
LATER = timedelta(seconds=5)
ROAD = [
    "review.opened",
    "review.approved",
    "ticket.approved",
    "access.granted",
    "ticket.extension_requested",
    "review.opened",
    "review.approved",
    "ticket.extension_approved",
    "access.extended",
]
"""What is recorded of access that was extended, in the order in which one causes the next."""


@dataclass(frozen=True)
class Live:
    """Access of ann that lasts, with its ticket."""

    running: Running
    place: tuple[str, str]
    ticket: Ticket

    @property
    def id(self) -> str:
        return self.ticket.id

    @property
    def window(self) -> Window:
        window = self.ticket.targets[0].window
        assert window is not None
        return window

    @property
    def is_there(self) -> bool:
        return self.running.present("ann", *self.place)

    @property
    def history(self) -> list[str]:
        return self.running.history("ann", *self.place)

    async def ask(self, *, longer: timedelta = HOUR, who: str = "ann") -> Extension:
        return await ask_later_end(self.running, who, self.id, self.window.ends_at + longer)

    async def now(self) -> Ticket:
        return Ticket.model_validate(await self.running.ticket(self.id))

    async def state_of(self, extension: Extension) -> tuple[str, str | None]:
        found = (await self.now()).extension(extension.id)
        assert found is not None
        return found.state, found.code

    async def until_state_of(self, extension: Extension, state: str, code: str | None = None) -> None:
        async def reached() -> bool:
            return await self.state_of(extension) == (state, code)

        await until(reached, what=f"extension {extension.id} is {state} ({code})")

    async def failures(self) -> list[str]:
        """The codes with which the provisioner said that an end stays."""
        return [
            one["status_code"]
            for one in await self.running.trail(self.id)
            if one["metadata"]["event_code"] == "access.extension_failed"
        ]

    async def until_failed(self, *codes: str) -> None:
        async def said() -> bool:
            return await self.failures() == [*codes]

        await until(said, what=f"access.extension_failed of {self.id} with {codes}")

    async def ends(self) -> tuple[datetime | None, datetime]:
        """The end as the ticket shows it, and as the provisioner does."""
        (grant,) = (await self.now()).grants
        page = await self.running.person("root").get(f"/v1/grants?ticket_id={self.id}")
        (claim,) = [one for one in page["items"] if one["id"] == grant.id]
        return grant.ends_at, datetime.fromisoformat(claim["ends_at"])

    async def require_unmoved(self) -> None:
        assert await self.ends() == (self.window.ends_at, self.window.ends_at)
        assert "access.extended" not in await self.running.codes(self.id)

    async def stop(self) -> None:
        path = f"/v1/tickets/{self.id}/terminate"
        await self.running.person("root").post(path, {"reason": "incident 8"}, status=202)

    async def until_stopped(self) -> None:
        await self.running.until_state(self.id, "ended")
        assert self.history == ["appeared", "disappeared"]

    def words(self, extension: Extension, *voters: str, revision: int | None = None) -> tuple[Any, Any]:
        """What ticket and approval would say if the extension were approved with these votes."""
        at = self.running.clock.now()
        window = Window(starts_at=self.window.starts_at, ends_at=extension.ends_at)
        votes = [forging.vote(self.running, name) for name in voters]
        if revision is not None:
            extension = extension.model_copy(update={"revision": revision})
        subject = forging.extension_subject(self.ticket, extension)
        return (
            forging.extension_approval(self.ticket, extension, window),
            forging.witness(self.ticket, subject, window, at=at, votes=votes),
        )

    def never_asked(self, *, longer: timedelta = HOUR) -> Extension:
        """An extension that the ticket service knows nothing of."""
        (grant,) = self.ticket.grants
        return Extension(
            id=new_id(),
            target_id=grant.target_id,
            revision=grant.revision,
            grants=(grant.id,),
            requested_by=self.ticket.requester,
            ends_at=self.window.ends_at + longer,
            reason="nobody asked for this",
            submitted_at=self.running.clock.now(),
            expires_at=self.window.ends_at,
        )


async def live(running: Running, *, of: str = "ann", duration: timedelta = HOUR) -> Live:
    """Ann's access to develop somewhere, which somebody asked for and bob or an owner approved."""
    place = running.spare_place("nonprod")
    approver = "bob" if of != "bob" else running.approver_of_development()
    more: dict[str, Any] = {} if of == "ann" else {"beneficiaries": ["ann"]}
    seen = await running.granted(of, place, by=[approver], duration=duration, **more)
    return Live(running, place, Ticket.model_validate(seen))


def when(running: Running, place: tuple[str, str], event: str) -> datetime:
    """The moment at which AWS's truth changed."""
    directory = running.stack.simulator.directory
    wanted = (running.account_id(place[0]), directory.find_set(place[1]).arn, running.user_id("ann"), event)
    (row,) = [
        row
        for row in running.stack.simulator.records.history
        if (row["account"], row["permission_set"], row["principal"], row["event"]) == wanted
    ]
    return datetime.fromtimestamp(row["time"], UTC)


@together
async def test_extension_moves_the_end_and_everybody_says_so(running: Running) -> None:
    """Bob asked for ann's access and she asks for more: he may not decide on it, though he is an approver."""
    window = max(running.brief, timedelta(seconds=30))  # a busy machine decides within it too
    access, owner = await live(running, of="bob", duration=window), running.approver_of_development()
    asked = await access.ask(longer=LATER)
    (review,) = await running.waiting_reviews(owner, access.id)
    assert (review["kind"], review["subject_id"]) == ("extension", asked.id)
    for party in ("ann", "bob"):
        problem = await running.person(party).post(
            f"/v1/reviews/{review['id']}/decisions",
            {"verdict": "approve"},
            status=403,
            headers=as_read(review),
        )
        assert problem["code"] == "self_approval", party
    await running.decide(owner, access.id)
    await access.until_state_of(asked, "extended")
    assert await access.ends() == (asked.ends_at, asked.ends_at)

    await running.until_state(access.id, "ended")
    assert access.history == ["appeared", "disappeared"], "never absent in between"
    assert when(running, access.place, "disappeared") >= asked.ends_at, "there until the new end"
    (grant,) = (await access.now()).grants
    assert (grant.code, grant.ends_at) == ("expired", asked.ends_at)
    assert grant.credentials_until is not None
    assert grant.credentials_until >= asked.ends_at
    for person, headline in [
        ("ann", "Extension requested"),
        ("bob", "Extension requested"),
        ("ann", "Access extended"),
        ("ann", "Access ended"),
    ]:
        await running.until_mailed(access.id, person, headline)
    # Perhaps in one mail with the review of the access itself.
    mails = [mail.text or "" for mail in running.mails(access.id, to=owner)]
    assert any(review["id"] in text for text in mails), await running.deliveries(access.id)
    codes = await running.until_recorded(access.id, *ROAD, "access.revoked")
    for owner_of in ("ticket.", "review.", "access."):
        mine = [code for code in codes if code in ROAD and code.startswith(owner_of)]
        assert mine == [code for code in ROAD if code.startswith(owner_of)], (
            f"{owner_of} in its owner's order"
        )


@together
async def test_extension_that_comes_after_the_end_moves_nothing(running: Running) -> None:
    """Nobody decides in time; and what both services say of it arrives late, as from a bus that lagged."""
    access = await live(running, duration=running.brief)
    asked = await access.ask()
    (review,) = await running.waiting_reviews("bob", access.id)
    await access.until_state_of(asked, "timed_out", "timed_out")
    problem = await running.person("bob").post(
        f"/v1/reviews/{review['id']}/decisions", {"verdict": "approve"}, status=409, headers=as_read(review)
    )
    assert problem["code"] == "state"
    await running.until_mailed(access.id, "ann", "Access not extended")
    async with running.intruder() as producer:
        await forge(producer, running, *access.words(asked, "bob"))
    await access.until_failed("too_late")
    await access.until_stopped()
    await access.require_unmoved()
    assert await access.state_of(asked) == ("timed_out", "timed_out")


@together
async def test_extension_of_what_is_stopped_before_its_approval_is_over(running: Running) -> None:
    access = await live(running)
    asked = await access.ask()
    (review,) = await running.waiting_reviews("bob", access.id)
    await access.stop()
    assert await access.state_of(asked) == ("withdrawn", "stopped")

    async def over() -> bool:
        seen = await running.person("bob").get(f"/v1/reviews/{review['id']}")
        return bool(seen["state"] == "voided")

    await until(over, what="the extension's review is void")
    await running.person("bob").post(
        f"/v1/reviews/{review['id']}/decisions", {"verdict": "approve"}, status=409, headers=as_read(review)
    )
    await access.until_stopped()
    await access.require_unmoved()


@together
async def test_extension_of_what_is_stopped_before_its_witness_is_over(running: Running) -> None:
    """The stop is read after ticket's word, for both are facts of one ticket; approval's word comes last."""
    access = await live(running)
    asked = await access.ask()
    approval, witness = access.words(asked, "bob")
    async with running.intruder() as producer:
        await forge(producer, running, approval)
        await access.stop()
        await access.until_failed("stopped")
        await forge(producer, running, witness)
        await access.until_stopped()
    await access.require_unmoved()
    assert await access.failures() == ["stopped"]


@together
async def test_race_of_approval_and_stop_never_leaves_access(running: Running) -> None:
    accesses = await asyncio.gather(*(live(running) for _ in range(3)))

    async def race(access: Live) -> None:
        await access.ask()
        await running.waiting_reviews("bob", access.id)
        await asyncio.gather(running.decide("bob", access.id), access.stop(), return_exceptions=True)
        await access.until_stopped()

    await asyncio.gather(*(race(access) for access in accesses))


@together
async def test_extension_delivered_again_changes_nothing(running: Running) -> None:
    access = await live(running)
    asked = await access.ask()
    await running.decide("bob", access.id)
    await access.until_state_of(asked, "extended")
    await running.until_mailed(access.id, "ann", "Access extended")
    await running.until_recorded(access.id, *ROAD)
    before = await access.now()
    trail = await running.codes(access.id)
    since = {"since": access.ticket.submitted_at.isoformat()}
    for service in ("ticket", "approval", "provisioner"):
        answer = await running.person("root").post(f"/v1/ops/{service}/outbox/replay", since, status=202)
        assert answer["marked"] > 0
    # The outboxes' records are sent in order: what comes after them has them behind it.
    await live(running)
    assert await access.now() == before
    assert await access.ends() == (asked.ends_at, asked.ends_at)
    assert await running.codes(access.id) == trail
    await running.require_told_once(access.id)
    # Said anew, with another end: the first word is kept.
    further = asked.model_copy(update={"ends_at": asked.ends_at + HOUR})
    async with running.intruder() as producer:
        await forge(producer, running, *access.words(further, "bob"))
    await live(running)
    assert await access.ends() == (asked.ends_at, asked.ends_at)
    assert access.history == ["appeared"]
    await access.stop()
    await access.until_stopped()


@together
async def test_extension_that_overtakes_its_approval_waits_for_it(running: Running) -> None:
    """A start that is fixed says what will be approved, so that the extension can be told before."""
    starts_at = running.clock.now() + 2 * HOUR
    place = running.spare_place("nonprod")
    made = await running.submit("ann", place, starts_at=starts_at.isoformat(), duration="PT1H")
    ticket = Ticket.model_validate(made)
    start = ticket.targets[0].asked.starts_at
    assert start is not None
    window = Window(starts_at=start, ends_at=start + HOUR)
    told = forging.approval(ticket, window).ticket
    access = Live(running, place, told)
    extension = access.never_asked()
    await running.waiting_reviews("bob", access.id)
    async with running.intruder() as producer:
        await forge(producer, running, *access.words(extension, "bob"))
    await running.decide("bob", access.id)
    await running.until_recorded(access.id, "access.extended")
    assert await access.failures() == []

    async def moved() -> bool:
        return await access.ends() == (extension.ends_at, extension.ends_at)

    await until(moved, what="ticket and provisioner show the later end")
    codes = [code for code in await running.codes(access.id) if code.startswith("access.")]
    assert codes == ["access.scheduled", "access.extended"]
    await access.stop()
    await running.until_state(access.id, "failed", "ended")
    assert access.history == []


@together
async def test_extension_of_another_revision_moves_nothing(running: Running) -> None:
    place = running.spare_place("nonprod")
    first = await running.submit("ann", place, duration="PT1H")
    await running.decide("bob", first["id"], "reject", comment="not today")
    await running.until_state(first["id"], "rejected")
    await ask_again(running, "ann", first["id"], HOUR)
    await running.decide("bob", first["id"])
    access = Live(
        running, place, Ticket.model_validate(await running.until_state(first["id"], "active", "failed"))
    )
    assert access.ticket.targets[0].revision == 2
    async with running.intruder() as producer:
        await forge(producer, running, *access.words(access.never_asked(), "bob", revision=1))
    await access.until_failed("revision_mismatch")
    await access.require_unmoved()
    asked = await access.ask()
    await running.decide("bob", access.id)
    await access.until_state_of(asked, "extended")
    assert access.is_there
    await access.stop()
    await access.until_stopped()


@together
async def test_extension_by_the_word_of_one_service_alone_moves_nothing(running: Running) -> None:
    by_ticket, by_approval, without_votes, unasked = await asyncio.gather(*(live(running) for _ in range(4)))
    asked = await by_approval.ask()
    lie, _ = by_ticket.words(by_ticket.never_asked(), "bob")
    _, voteless = by_approval.words(asked)
    both = without_votes.words(without_votes.never_asked())
    _, of_nothing = unasked.words(unasked.never_asked(), "bob")
    async with running.intruder() as producer:
        await forge(producer, running, lie, voteless, *both, of_nothing)
    await asyncio.gather(by_ticket.until_failed("no_witness"), without_votes.until_failed("witness_invalid"))
    await running.until_alerted(
        "an extension without its witness was not carried out",
        "an extension was asked for whose approval does not hold",
        "an approval without the votes it needs was not honoured",
    )
    await running.until_recorded(unasked.id, "review.approved")
    assert await by_approval.state_of(asked) == ("pending", None)
    for access in (by_ticket, by_approval, without_votes, unasked):
        await access.require_unmoved()
        assert access.history == ["appeared"]
        await access.stop()
    await asyncio.gather(
        *(access.until_stopped() for access in (by_ticket, by_approval, without_votes, unasked))
    )
