"""Settings of the approval service; what all services share is in shared/foundation/settings.py."""

from pydantic import Field

from shared.foundation.settings import ServiceSettings


class ApprovalSettings(ServiceSettings):
    """Environment variables `JIT_*`."""

    refresh_poll_s: float = Field(default=1.0, gt=0, le=60)
    """Seconds between looks at the documents' revisions. A look compares three numbers, so a rule change
    re-asks open reviews within a second at no cost while nothing changes."""
    refresh_every_s: float = Field(default=60.0, gt=0, le=3600)
    """Seconds after which open reviews are re-asked although nothing seems to have changed: for a change
    that another replica saw first, or that a crash left half done."""
