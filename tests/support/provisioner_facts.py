"""What ticket and approval emit, as the provisioner receives it, about the simulated organisation."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.contracts import ticket as tk
from shared.contracts.approval import ReviewApproved
from shared.contracts.event import Actor, Revisions
from shared.contracts.extension import Extension, ExtensionState
from shared.contracts.people import Person
from shared.contracts.stop import StopFact, TicketTerminated
from shared.contracts.subject import ApprovalSubject
from shared.contracts.windows import Window, WindowAsked
from shared.foundation.clock import ManualClock, new_id
from shared.messaging.envelope import Received
from simulator.controls import Controls
from tests.support.builders import vote
from tests.support.harness import received


@dataclass
class OtherServices:
    """Makes their facts; who takes them is the lab's business."""

    clock: ManualClock
    aws: Controls
    digests: Mapping[str, str]
    """Of permission sets, by their names."""

    @property
    def now(self) -> datetime:
        return self.clock.now()

    # organisation, by the names people use

    def user(self, name: str = "ann") -> str:
        return self.aws.directory.find_user(name).id

    def account(self, name: str = "orders-prod") -> str:
        return self.aws.directory.find_account(name).id

    def arn(self, name: str = "ReadOnly") -> str:
        return self.aws.directory.find_set(name).arn

    # what other services say

    def ticket(
        self,
        *users: str,
        account: str = "orders-prod",
        name: str = "ReadOnly",
        seconds: float = 60,
        starts_in: float = 0,
    ) -> tk.Ticket:
        """One target for these people, approved for a window from `starts_in` on."""
        start = self.now + timedelta(seconds=starts_in)
        window = Window(starts_at=start, ends_at=start + timedelta(seconds=seconds))
        target = tk.Target(
            id=new_id(),
            account_id=self.account(account),
            account_name=account,
            set_id=self.arn(name).rsplit("/", 1)[1],
            set_name=name,
            subject_id=new_id(),
            set_digest=self.digests[name],
            session_duration=timedelta(hours=1),
            asked=WindowAsked(starts_at=start, ends_at=window.ends_at),
            reason="looking into incident 4711",
            submitted_at=self.now,
            expires_at=window.ends_at,
            state=tk.TargetState.APPROVED,
            window=window,
            decided_at=self.now,
        )
        people = [Person(user_id=self.user(user), user_name=user) for user in users or ("ann",)]
        return tk.Ticket(
            id=new_id(),
            instance="default",
            version=3,
            requester=people[0],
            beneficiaries=tuple(people),
            targets=(target,),
            grants=tuple(
                tk.Grant(id=new_id(), target_id=target.id, beneficiary=person.user_id, ends_at=window.ends_at)
                for person in people
            ),
            submitted_at=self.now,
            state=tk.TicketState.SCHEDULED,
        )

    def approval(self, ticket: tk.Ticket, **changes: Any) -> Received[tk.TicketApproved]:
        target = ticket.targets[0]
        fields: dict[str, Any] = {
            "subject": ticket.id,
            "version": ticket.version,
            "actor": Actor.service("ticket"),
            "at": self.now,
            "ticket": ticket,
            "target_ids": (target.id,),
            "content_hash": _hash(ticket.subject_of(target), target.window),
        }
        return received(tk.TicketApproved(**(fields | changes)), source="ticket")

    def witness(self, ticket: tk.Ticket, **changes: Any) -> Received[ReviewApproved]:
        target = ticket.targets[0]
        return self._witness(ticket, ticket.subject_of(target), target.window, **changes)

    def _witness(
        self, ticket: tk.Ticket, about: ApprovalSubject, window: Window | None, **changes: Any
    ) -> Received[ReviewApproved]:
        fields: dict[str, Any] = {
            "subject": ticket.id,
            "version": 4,
            "actor": Actor.service("approval"),
            "at": self.now,
            "review_id": new_id(),
            "ticket_id": ticket.id,
            "target_id": about.target_id,
            "revision": about.revision,
            "subject_id": about.id,
            "subject_kind": about.kind,
            "ticket_version": 1,
            "window": window,
            "content_hash": _hash(about, window),
            "votes": (vote(self.user("carl"), at=self.now),),
            "revisions": Revisions(),
        }
        return received(ReviewApproved(**(fields | changes)), source="approval")

    def extended(self, ticket: tk.Ticket, *, seconds: float, **changes: Any) -> tk.Ticket:
        """The ticket with an approved extension of all its grants, by so long beyond the window it has."""
        target = ticket.targets[0]
        assert target.window is not None
        later = target.window.ends_at + timedelta(seconds=seconds)
        fields: dict[str, Any] = {
            "id": new_id(),
            "target_id": target.id,
            "revision": target.revision,
            "grants": tuple(grant.id for grant in ticket.grants),
            "requested_by": ticket.requester,
            "ends_at": later,
            "reason": "the incident goes on",
            "submitted_at": self.now,
            "expires_at": target.window.ends_at,
            "state": ExtensionState.APPROVED,
            "window": Window(starts_at=target.window.starts_at, ends_at=later),
            "decided_at": self.now,
        }
        extension = Extension(**(fields | changes))
        return ticket.model_copy(
            update={"version": ticket.version + 1, "extensions": (*ticket.extensions, extension)}
        )

    def extension_approval(self, ticket: tk.Ticket, **changes: Any) -> Received[tk.TicketExtensionApproved]:
        """Ticket's word about the newest extension of `ticket`."""
        extension = ticket.extensions[-1]
        fields: dict[str, Any] = {
            "subject": ticket.id,
            "version": ticket.version,
            "actor": Actor.service("ticket"),
            "at": self.now,
            "ticket": ticket,
            "target_ids": (extension.target_id,),
            "grant_ids": extension.grants,
            "extension_id": extension.id,
        }
        if "content_hash" not in changes:
            fields["content_hash"] = _hash(_about(ticket, extension), extension.window)
        return received(tk.TicketExtensionApproved(**(fields | changes)), source="ticket")

    def extension_witness(self, ticket: tk.Ticket, **changes: Any) -> Received[ReviewApproved]:
        """Approval's word about the newest extension of `ticket`."""
        extension = ticket.extensions[-1]
        return self._witness(ticket, _about(ticket, extension), extension.window, **changes)

    def stop(
        self, ticket: tk.Ticket, cls: type[StopFact] = TicketTerminated, **changes: Any
    ) -> Received[StopFact]:
        """Of all its grants, unless `grant_ids` names some."""
        fields: dict[str, Any] = {
            "ticket_id": ticket.id,
            "grant_ids": tuple(grant.id for grant in ticket.grants),
            "ends_by": ticket.last_end,
            "subject": ticket.id,
            "version": ticket.version + 1,
            "actor": Actor(kind="person", name="carl", user_id="user-carl"),
            "at": self.now,
            "why": "not needed any more",
            "ticket": ticket,
        }
        return received(cls(**(fields | changes)), source="ticket")


def _about(ticket: tk.Ticket, extension: Extension) -> ApprovalSubject:
    found = ticket.extension_subject(extension)
    assert found is not None, "the extension's target is approved in the revision it extends"
    return found


def _hash(about: ApprovalSubject, window: Window | None) -> str:
    assert window is not None
    return about.content_hash(window)
