"""What can be turned on the simulated AWS: limits, durations, lags, and the points AWS leaves open.

Changed at run time by PUT /_sim/settings; the defaults are AWS's documented numbers where there are any.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Seconds = Annotated[float, Field(ge=0)]


class Range(BaseModel):
    """Seconds, drawn evenly between `low` and `high`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: Seconds
    high: Seconds

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.high < self.low:
            raise ValueError("high must not be below low")
        return self


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    rate_per_second: dict[str, float] = {"sso-admin": 20, "identitystore": 20, "organizations": 0}
    """Calls per second and bucket size, per service; 0 = no limit. AWS documents 20 for Identity Center."""

    slots: int = Field(default=10, ge=0)
    """Asynchronous requests outstanding at once; 0 = no limit. AWS documents 10."""

    slots_count_deletions: bool = True
    """Whether deletions use up slots too; AWS's page names creations only."""

    create_seconds: Range = Range(low=2, high=4)
    """How long a creation takes. AWS publishes no number; clients in the wild wait 1 s to minutes."""

    delete_seconds: Range = Range(low=2, high=4)
    """How long a deletion takes."""

    provision_seconds: Range = Range(low=2, high=4)
    """How long provisioning a permission set takes."""

    list_lag_seconds: Seconds = 0
    """How long lists show an assignment as it was before a change."""

    account_serialisation: Literal["queue", "conflict", "off"] = "queue"
    """What happens to a second request for an account that is being worked on (AWS: one role at a time)."""

    missing_assignment_deletion: Literal["not_found", "failed", "succeeded"] = "not_found"
    """The answer to deleting an assignment that does not exist; AWS does not document it."""

    caller: Literal["management", "delegated"] = "management"
    """Which account the caller's credentials belong to; a delegated administrator may do less."""

    principal_lists_include_groups: bool = True
    """Whether ListAccountAssignmentsForPrincipal of a user shows what they have through groups."""

    page_limit: int = Field(default=0, ge=0)
    """At most so many rows per page whatever MaxResults says, as AWS may do; 0 = no such cap."""

    empty_first_pages: bool = False
    """Organizations lists begin with an empty page that carries a token, as AWS may do."""
