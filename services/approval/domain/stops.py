"""What of a ticket was stopped, and which approval subjects need no review because of it. Pure.

Stops are absorbing: they hold whenever they come, also before what they stop. Nothing takes one back.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Self

from shared.contracts.stop import StopFact
from shared.contracts.subject import ApprovalSubject
from shared.contracts.ticket import Target, TicketFact


@dataclass(frozen=True)
class Stops:
    """The ids that were stopped, by what they are of."""

    targets: Mapping[str, int] = field(default_factory=dict)
    """Target to the revision that was stopped, with every earlier one; a later one is not."""
    grants: frozenset[str] = frozenset()
    extensions: frozenset[str] = frozenset()

    @classmethod
    def by(cls, fact: StopFact) -> Self:
        """What a stop names: its grants, and the targets with which nothing goes on."""
        return cls({one.id: one.revision for one in fact.targets}, frozenset(fact.grant_ids))

    @classmethod
    def decided(cls, fact: TicketFact) -> Self:
        """What needs no review after an end that nobody stopped: rejected, timed out, closed."""
        grants = frozenset(grant.id for grant in fact.grants)
        whole = {
            target.id: target.revision
            for target in fact.targets
            if grants.issuperset(grant.id for grant in fact.ticket.grants_of(target.id))
        }
        return cls(whole, grants)

    @classmethod
    def superseded(cls, targets: Collection[Target]) -> Self:
        """The revisions before those that are asked for now."""
        return cls({target.id: target.revision - 1 for target in targets if target.revision > 1})

    def cover(self, subject: ApprovalSubject) -> bool:
        """Whether nothing of the subject is left to be decided on."""
        return (
            self.targets.get(subject.target_id, 0) >= subject.revision
            or subject.id in self.extensions
            or self.grants.issuperset(grant.id for grant in subject.grants)
        )
