"""Tickets, reviews and documents for tests of the approval service, over the small organisation."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from services.approval.domain.lifecycle import open_review
from services.approval.domain.review import Background, Electorate, Review, Reviewed
from services.approval.domain.votes import Ballot, Verdict, vote
from shared.contracts.approval import Stage
from shared.contracts.change import Change, Origin
from shared.contracts.documents import Document
from shared.contracts.event import Actor, Revisions
from shared.contracts.people import Person
from shared.contracts.ticket import (
    Grant,
    Target,
    TargetState,
    Ticket,
    TicketState,
    WindowAsked,
)
from shared.documents.tables import Tables
from shared.foundation.clock import new_id
from shared.policy.row import Answer
from shared.policy.selection import RuleChoice
from tests.support import organisation as org
from tests.support.harness import NOW, mark

NAMES = {org.P: "prod-payments", org.S: "prod-cards", org.D: "dev-web"}
SETS = {org.ADMIN: "Administrator", org.READ: "ReadOnly"}
HOUR = timedelta(hours=1)


def person(name: str) -> Person:
    return Person.of(org.user(name))


def target(account: str = org.P, set_id: str = org.ADMIN) -> Target:
    return Target(
        id=new_id(),
        account_id=account,
        account_name=NAMES[account],
        set_id=set_id,
        set_name=SETS[set_id],
        set_digest=f"digest-{SETS[set_id]}",
        session_duration=HOUR,
    )


def ticket(
    *targets: Target,
    requester: str = "ann",
    beneficiaries: Sequence[str] = ("ann",),
    asked: WindowAsked | None = None,
    submitted_at: datetime = NOW,
    expires_at: datetime | None = None,
    revisions: Revisions | None = None,
) -> Ticket:
    """A submitted ticket; one hour of admin on P for ann unless said otherwise."""
    wanted = targets or (target(),)
    asked = asked or WindowAsked(duration=HOUR)
    return Ticket(
        id=new_id(),
        instance="default",
        version=1,
        revision=1,
        requester=person(requester),
        beneficiaries=tuple(person(name) for name in beneficiaries),
        targets=wanted,
        grants=tuple(
            Grant(id=new_id(), target_id=one.id, beneficiary=org.user_id(name))
            for one in wanted
            for name in beneficiaries
        ),
        asked=asked,
        reason="deploy the hotfix of payments",
        submitted_at=submitted_at,
        expires_at=expires_at or asked.ends_at or submitted_at + timedelta(hours=24),
        state=TicketState.PENDING,
        revisions=revisions or Revisions(),
    )


def with_state(before: Ticket, state: TargetState, *, version: int = 2) -> Ticket:
    """The ticket with all its targets in that state."""
    targets = tuple(one.model_copy(update={"state": state}) for one in before.targets)
    return before.model_copy(update={"targets": targets, "version": version})


def replace_rules(tables: Tables, *rules: Document) -> None:
    """What the approval service's own documents become, as the table reader would apply them."""
    newest = tables.policy.known().revisions.rules
    live = [rule.model_copy(update={"revision": newest + n}) for n, rule in enumerate(rules, start=1)]
    kept = {rule.key for rule in live}
    gone = [
        rule.model_copy(update={"deleted": True, "revision": newest + len(live) + n})
        for n, rule in enumerate((one for one in org.rules() if one.key not in kept), start=1)
    ]
    put_documents(tables, "approval", [*live, *gone])


def put_documents(tables: Tables, owner: str, documents: Sequence[Document]) -> None:
    """Apply an owner's documents and its marker; they must be all the owner has."""
    for document in documents:
        tables.policy.take(owner, document)
    mark(tables.policy, owner, documents, at=NOW)


# the pure domain

CARLS = ("carl", "cora")


def stage(needed: int = 1, denials: int = 1, *, rule: str = "prod", index: int = 1) -> Stage:
    return Stage(rule_id=rule, index=index, approvers=("group:x",), needed=needed, denials=denials)


def electorate(*stages: Sequence[str]) -> Electorate:
    return tuple(tuple(person(name) for name in names) for names in stages)


def origin(at: datetime = NOW) -> Origin:
    return Origin(Actor.service("approval"), at, "cause")


def opened(
    stages: Sequence[Stage],
    people: Electorate,
    *,
    of: Ticket | None = None,
    auto: str | None = None,
    at: datetime = NOW,
) -> Change[Review]:
    of = of or ticket()
    return open_review(
        Reviewed.of(of, of.targets[0]),
        RuleChoice(stages=tuple(stages), auto_approved_by=auto),
        people,
        Background(other_grants=2, earlier_rejections=1),
        review_id=new_id(),
        ticket_version=of.version,
        revisions=Revisions(rules=3),
        origin=origin(at),
    )


ALLOWED = Answer(allowed=True, code="ALLOW", rules=("rule/prod",), proof=("rule/prod allow group:x",))
REFUSED = Answer(allowed=False, code="NO_RULE")


def cast(
    review: Review,
    name: str,
    people: Electorate,
    *,
    verdict: Verdict = "approve",
    comment: str | None = None,
    answer: Answer | None = None,
    at: datetime = NOW,
) -> Change[Review]:
    """A vote, with the policy's answer following from the electorate unless given."""
    eligible = 0 < review.stage <= len(people) and person(name) in people[review.stage - 1]
    said = comment if comment is not None else ("not now" if verdict == "reject" else "")
    return vote(
        review,
        Ballot(new_id(), person(name), verdict, said, Revisions(rules=3)),
        answer or (ALLOWED if eligible else REFUSED),
        people,
        Background(),
        origin(at),
    )
