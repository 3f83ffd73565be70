"""Settings of the audit service: those of every service, and what names the organisation to a SIEM."""

from shared.foundation.settings import ServiceSettings


class AuditSettings(ServiceSettings):
    """Environment variables `JIT_*`."""

    audit_org_id: str | None = None
    """AWS organisation id (`o-...`), put into `cloud.org.uid` of every record. Absent by default: the
    instance's name, which is always there as `metadata.tenant_uid`, is enough where there is one
    organisation only."""
