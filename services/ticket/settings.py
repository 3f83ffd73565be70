"""Settings of the ticket service."""

from datetime import timedelta
from typing import Any

from pydantic import Field

from shared.contracts.windows import LONGEST_LEAD
from shared.foundation.environment import load
from shared.foundation.settings import AccountId, ServiceSettings


class TicketSettings(ServiceSettings):
    """Read from `JIT_*`; the shared ones are in shared/foundation/settings.py."""

    shortest_window: timedelta = timedelta(minutes=5)
    """Shorter requests are refused: granting alone takes seconds. ISO 8601 (PT5M); the demo uses 10 s."""
    longest_lead: timedelta = Field(default=timedelta(days=90), le=LONGEST_LEAD)
    """How far ahead a window may start; approvals older than a quarter have lost their meaning."""
    default_window: timedelta = timedelta(hours=24)
    """The length when neither end nor duration is asked for, capped by the access scope."""
    pending_limit: timedelta = Field(default=timedelta(hours=24), le=LONGEST_LEAD)
    """When a request with an open start times out without a decision."""
    most_grants: int = Field(default=50, ge=1, le=500)
    """Beneficiaries times targets in one ticket; more would hide what is being approved."""
    shortest_reason: int = Field(default=10, ge=1, le=500)
    """Characters a reason has at least, blanks around it not counted; ten keep out "asdf" and "see chat"."""
    protected_accounts: tuple[AccountId, ...] = ()
    """Accounts that may be neither registered nor, if they are already, requested, as a JSON list of ids;
    besides the management account and the delegated administrator's, which never need to be named."""
    allow_protected_accounts: tuple[AccountId, ...] = ()
    """Protected accounts that may be registered after all; empty unless somebody decided otherwise. One that
    was registered before it was protected has to be registered again."""
    timer_every: timedelta = timedelta(seconds=5)
    """How often pending tickets are looked through for time-outs and ended ones for closing."""


def load_settings(**given: Any) -> TicketSettings:
    return load(TicketSettings, **given)
