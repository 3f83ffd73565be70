"""Settings of the provisioner: where AWS is, its limits, and how long things are waited for."""

import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from services.provisioner.domain.inventory import Guard
from services.provisioner.domain.timing import Objectives, Timing
from services.provisioner.identity_center.types import CHANGE_TIMEOUT_S
from shared.foundation.settings import ServiceSettings


class ProvisionerSettings(ServiceSettings):
    """Environment variables `JIT_<NAME>`; every one has a default but those of ServiceSettings."""

    aws_region: str = "us-east-1"
    """The Region of the Identity Center instance. AWS's own default, wrong for most outside America."""
    aws_endpoint: str | None = None
    """Another endpoint for all of AWS (the simulator); refused in production, where it could be anybody's."""
    sso_instance_arn: str | None = None
    """The instance, where the caller can see several; the only one is found by itself."""
    replica: str | None = None
    """Name of this process in the lease, unique among replicas. Host name and port unless given: a process
    that comes back under its name takes its own lease without waiting for it to run out."""

    inventory_interval_s: float = Field(default=600.0, ge=10)
    """Seconds between two readings of accounts, sets and people. Ten minutes: a reading of 5,000 accounts
    makes some 1,100 calls of Organizations in that time."""
    inventory_details_s: float = Field(default=3600.0, ge=60)
    """Seconds in which the tags of all accounts, the units and what each set allows are read again, slice by
    slice: one call each or six, thousands in a large organisation. An hour; a small one is read whole every
    time."""
    inventory_vanish_share: float = Field(default=0.05, gt=0, lt=1)
    """More than this share of users, groups, memberships, accounts, units or sets that disappears at once is
    not believed. A twentieth; five may always go, but never all."""
    inventory_agree_s: float = Field(default=3600.0, ge=60)
    """Seconds after which what disappeared is believed by itself, where AWS was read again and still lacks
    it. An hour: long enough for somebody to be alerted and to look."""

    calls_per_second: float | None = Field(default=18.0, gt=0)
    """Our share of AWS's 20 calls per second, to Identity Center and to the Identity Store each; two are left
    to others. None: no limit."""
    organizations_calls_per_second: float | None = Field(default=8.0, gt=0)
    """Our share of what Organizations takes per second, which AWS documents nowhere; where it is less, our
    rate is halved until it fits. None: no limit, as without JIT_CALLS_PER_SECOND."""
    slots: int = Field(default=10, ge=1)
    """Asynchronous operations outstanding at once; AWS's quota."""
    grant_slots: int = Field(default=7, ge=1)
    """How many of these creations may take, so that a deletion never waits for a burst of grants."""
    concurrency: int = Field(default=32, ge=1, le=200)
    """Assignments looked after at once; more than slots, since reading back needs none. As many again where
    access is taken away."""

    witness_wait_s: float = Field(default=60.0, gt=0)
    """Seconds the approval service may take to confirm what ticket says; the bus delivers within one."""
    settle_checks: int = Field(default=3, ge=2)
    """How often an assignment must be read absent before it counts as revoked. One look lies: lists lag."""
    settle_time_s: float = Field(default=20.0, gt=0)
    """Seconds from the first to the last of these looks; longer than AWS's lists have been seen to lag."""
    revoke_objective_s: float = Field(default=120.0, gt=0)
    """Seconds after a claim's end from which on a revoke that is not verified is called late, loudly."""
    operation_patience_s: float = Field(default=300.0, gt=0)
    """Seconds an operation may be in progress before somebody is alerted; Terraform gives up then."""
    operation_longest_s: float = Field(default=600.0, gt=0)
    """Seconds after its call during which an operation that nobody can follow may still come true: so long
    nothing is called revoked unless AWS takes a deletion. Twice what AWS's own tools wait for."""
    create_attempts: int = Field(default=5, ge=1)
    """Tries of a creation that AWS reports FAILED. A deletion is tried for ever."""

    lease_ttl_s: float = Field(default=4.0, gt=0)
    """Seconds the lease lasts without renewal (each half second); a standby takes over after so long. A
    second more than a change, so that a stalled moment does not stop the sends."""
    change_timeout_s: float = Field(default=CHANGE_TIMEOUT_S, gt=0)
    """Seconds a call that changes AWS takes at most; none is begun with less lease left. One that took longer
    may have been taken, and is looked for."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.grant_slots > self.slots:
            raise ValueError("JIT_GRANT_SLOTS must not exceed JIT_SLOTS")
        if self.lease_ttl_s < self.change_timeout_s + 1:
            # Two renewals: with less there would be moments in which nothing may be sent.
            raise ValueError("JIT_LEASE_TTL_S must exceed JIT_CHANGE_TIMEOUT_S by a second at least")
        return self

    def unfit(self) -> Iterator[str]:
        yield from super().unfit()
        if self.aws_endpoint:
            yield "JIT_AWS_ENDPOINT: an endpoint override needs JIT_ENV=development"

    @property
    def replica_name(self) -> str:
        return self.replica or f"{socket.gethostname()}:{self.port}"

    @property
    def rates(self) -> dict[str, float | None]:
        """Calls per second, by service as the SDK names it: AWS counts each for itself."""
        ours = self.calls_per_second
        organizations = None if ours is None else self.organizations_calls_per_second
        return {"sso-admin": ours, "identitystore": ours, "organizations": organizations}

    @property
    def timing(self) -> Timing:
        return Timing(
            settle_checks=self.settle_checks,
            settle_time=timedelta(seconds=self.settle_time_s),
            attempts=self.create_attempts,
            operation_patience=timedelta(seconds=self.operation_patience_s),
            operation_longest=timedelta(seconds=self.operation_longest_s),
        )

    @property
    def guard(self) -> Guard:
        return Guard(
            share=self.inventory_vanish_share,
            agree_after=timedelta(seconds=self.inventory_agree_s),
            details_within=timedelta(seconds=self.inventory_details_s),
        )

    @property
    def objectives(self) -> Objectives:
        return Objectives(
            witness_wait=timedelta(seconds=self.witness_wait_s),
            revoke_objective=timedelta(seconds=self.revoke_objective_s),
        )
