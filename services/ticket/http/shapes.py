"""What the ticket routes answer. Tickets are shown in the contract's own words."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Self

from pydantic import Field, computed_field

from services.ticket.domain.plan import Plan, PlannedTarget
from services.ticket.domain.termination import Termination
from shared.configuration.kinds.sensitive_mark import SensitiveMarkShown, marks_shown
from shared.contracts.people import Person
from shared.contracts.ticket import Ticket
from shared.foundation.shapes import Shown
from shared.http.problems import FieldProblem
from shared.policy.snapshot import Snapshot
from shared.text.durations import Duration

_NOTE: Final = (
    "access ends when AWS was read back without it; "
    "credentials already issued may live until credentials_until"
)


class TicketShown(Ticket):
    """A ticket with its targets, grants and extensions as they stand."""

    @computed_field(description="of its newest revision; each target has its own")  # type: ignore[prop-decorator]
    @property
    def reason(self) -> str:
        return super().reason

    @classmethod
    def of(cls, ticket: Ticket) -> Self:
        return cls(**dict(ticket))


class AccountNamed(Shown):
    id: str
    name: str


class SetAllowing(Shown):
    """A permission set, with what it allows in words."""

    id: str
    name: str
    allows: list[str]
    session_duration: Duration = Field(description="how long AWS lets one session live")


class ApproverNamed(Shown):
    user_id: str
    user_name: str


class StagePlanned(Shown):
    """Votes that would be needed, one stage after another."""

    rule: str
    needed: int
    approvers: list[ApproverNamed] = Field(description="who could vote if it were submitted now")


class TargetPlanned(Shown):
    account: AccountNamed
    set: SetAllowing
    sensitive: list[SensitiveMarkShown] = Field(description="marks of its account and its set")
    allowed_by: list[str] = Field(description="ids of the access scopes")
    auto_approved_by: str | None = Field(description="the rule that approves it without votes")
    stages: list[StagePlanned]


class TicketPlanShown(Shown):
    """A preview: whether it would be accepted, what each target needs, and who could decide."""

    acceptable: bool
    errors: list[FieldProblem]
    duration: Duration | None = Field(description="null where the end is not after the start")
    starts_at: datetime | None
    ends_at: datetime | None
    beneficiaries: list[Person] = Field(
        description="of whom you may not look for, no more than what you wrote, as `user_name`"
    )
    targets: list[TargetPlanned]

    @classmethod
    def of(cls, plan: Plan, snapshot: Snapshot) -> Self:
        return cls(
            acceptable=not plan.problems,
            errors=[FieldProblem(**problem.as_dict()) for problem in plan.problems],
            duration=plan.length if plan.length > timedelta(0) else None,
            starts_at=plan.asked.starts_at,
            ends_at=plan.asked.ends_at,
            beneficiaries=[
                *(Person.of(user) for user in plan.beneficiaries),
                *(Person(user_id="", user_name=text) for text in plan.strangers),
            ],
            targets=[_target(target, snapshot) for target in plan.targets],
        )


class EndingShown(Shown):
    """A grant that begins to end."""

    ticket_id: str
    grant_id: str
    user_id: str


class RemainingShown(Shown):
    """A live grant that the person keeps."""

    grant_id: str
    user_id: str
    why: str


class TerminationShown(Shown):
    """What begins to end. Access ends when AWS was read back without it."""

    ending: list[EndingShown]
    withdrawn_targets: list[str]
    remains: list[RemainingShown]
    credentials_until: datetime | None = Field(description="credentials issued already may live until then")
    note: str = _NOTE

    @classmethod
    def of(cls, ended: Termination) -> Self:
        return cls(
            ending=[
                EndingShown(ticket_id=one.ticket_id, grant_id=one.grant_id, user_id=one.user_id)
                for one in ended.ending
            ],
            withdrawn_targets=list(ended.withdrawn_targets),
            remains=[
                RemainingShown(grant_id=one.grant_id, user_id=one.user_id, why=one.why)
                for one in ended.remains
            ],
            credentials_until=ended.credentials_until,
        )


def _target(target: PlannedTarget, snapshot: Snapshot) -> TargetPlanned:
    permission_set = target.permission_set
    return TargetPlanned(
        account=AccountNamed(id=target.account.id, name=target.account.name),
        set=SetAllowing(
            id=permission_set.id,
            name=permission_set.name,
            allows=list(permission_set.summary),
            session_duration=permission_set.session_duration,
        ),
        sensitive=marks_shown(target.account.id, permission_set.id, snapshot),
        allowed_by=list(target.allowed_by),
        auto_approved_by=target.choice.auto_approved_by,
        stages=[
            _stage(stage.rule_id, stage.needed, sorted(people), snapshot)
            for stage, people in zip(target.choice.stages, target.approvers, strict=True)
        ],
    )


def _stage(rule_id: str, needed: int, people: Sequence[str], snapshot: Snapshot) -> StagePlanned:
    named = [(user_id, snapshot.user(user_id)) for user_id in people]
    approvers = [
        ApproverNamed(user_id=user_id, user_name=user.user_name if user else user_id)
        for user_id, user in named
    ]
    return StagePlanned(rule=rule_id, needed=needed, approvers=approvers)
