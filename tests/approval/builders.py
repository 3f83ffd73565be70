"""Tickets, reviews and documents for tests of the approval service, over the small organisation."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from services.approval.domain.lifecycle import open_review, open_stage
from services.approval.domain.review import Background, Electorate, Review
from services.approval.domain.votes import Ballot, Verdict, vote
from shared.contracts.approval import Stage
from shared.contracts.change import Change, Origin
from shared.contracts.documents import Document
from shared.contracts.event import Actor, Revisions
from shared.contracts.extension import Extension
from shared.contracts.people import Person
from shared.contracts.subject import ApprovalSubject
from shared.contracts.ticket import Grant, GrantState, Target, TargetState, Ticket, TicketState
from shared.contracts.windows import Window, WindowAsked
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
        subject_id=new_id(),
        asked=WindowAsked(duration=HOUR),
        reason="deploy the hotfix of payments",
        submitted_at=NOW,
        expires_at=NOW + timedelta(hours=24),
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
    asked = asked or WindowAsked(duration=HOUR)
    times = {
        "asked": asked,
        "submitted_at": submitted_at,
        "expires_at": expires_at or asked.ends_at or submitted_at + timedelta(hours=24),
    }
    wanted = tuple(one.model_copy(update=times) for one in targets or (target(),))
    return Ticket(
        id=new_id(),
        instance="default",
        version=1,
        requester=person(requester),
        beneficiaries=tuple(person(name) for name in beneficiaries),
        targets=wanted,
        grants=tuple(
            Grant(id=new_id(), target_id=one.id, beneficiary=org.user_id(name))
            for one in wanted
            for name in beneficiaries
        ),
        submitted_at=submitted_at,
        state=TicketState.PENDING,
        revisions=revisions or Revisions(),
    )


def with_state(before: Ticket, state: TargetState, *, version: int = 2) -> Ticket:
    """The ticket with all its targets in that state."""
    targets = tuple(one.model_copy(update={"state": state}) for one in before.targets)
    return before.model_copy(update={"targets": targets, "version": version})


def revised(before: Ticket, *, revision: int = 2, version: int = 4) -> Ticket:
    """The ticket with all its targets asked for anew."""
    targets = tuple(
        one.model_copy(update={"revision": revision, "subject_id": new_id(), "state": TargetState.PENDING})
        for one in before.targets
    )
    grants = tuple(
        one.model_copy(update={"revision": revision, "id": new_id(), "state": None}) for one in before.grants
    )
    return before.model_copy(update={"targets": targets, "grants": grants, "version": version})


def live(before: Ticket, *, hours: int = 1) -> Ticket:
    """The ticket with all its access given, from now on for so many hours."""
    window = Window(starts_at=NOW, ends_at=NOW + hours * HOUR)
    approved = {"state": TargetState.APPROVED, "window": window, "decided_at": NOW}
    active = {"state": GrantState.ACTIVE, "ends_at": window.ends_at, "granted_at": NOW}
    return before.model_copy(
        update={
            "version": 3,
            "targets": tuple(one.model_copy(update=approved) for one in before.targets),
            "grants": tuple(one.model_copy(update=active) for one in before.grants),
        }
    )


def with_extension(before: Ticket, *, hours: int, by: str = "ann", at: datetime = NOW) -> Ticket:
    """The live ticket with a later end of its first target asked for: so many hours from the first start."""
    first = before.targets[0]
    assert first.window is not None, "what is not live cannot be extended"
    extension = Extension(
        id=new_id(),
        target_id=first.id,
        revision=first.revision,
        grants=tuple(grant.id for grant in before.grants_of(first.id)),
        requested_by=person(by),
        ends_at=first.window.starts_at + hours * HOUR,
        reason="the hotfix needs watching",
        submitted_at=at,
        expires_at=first.window.ends_at,
    )
    return before.model_copy(update={"version": before.version + 1, "extensions": (extension,)})


def extension_subject(of: Ticket) -> ApprovalSubject:
    subject = of.extension_subject(of.extensions[0])
    assert subject is not None
    return subject


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
    begun = open_review(
        extension_subject(of) if of.extensions else of.subject_of(of.targets[0]),
        RuleChoice(stages=tuple(stages), auto_approved_by=auto),
        people,
        review_id=new_id(),
        ticket_version=of.version,
        revisions=Revisions(rules=3),
        origin=origin(at),
    )
    return next_stage(begun, people, at=at)


def next_stage(change: Change[Review], people: Electorate, *, at: datetime = NOW) -> Change[Review]:
    """The stage opened that has to be, as every command does after a step."""
    number = change.state.stage_to_open(people)
    known = Background(other_grants=2, earlier_rejections=1)
    return open_stage(change, number, people, known, origin(at)) if number else change


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
    counted = vote(
        review,
        Ballot(new_id(), person(name), verdict, said, Revisions(rules=3)),
        answer or (ALLOWED if eligible else REFUSED),
        people,
        origin(at),
    )
    return next_stage(counted, people, at=at)
