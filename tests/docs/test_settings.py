"""Settings named in documents exist, and where a page says their default it is the default."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from services.approval.settings import ApprovalSettings
from services.audit.settings import AuditSettings
from services.notifier.settings import NotifierSettings
from services.provisioner.settings import ProvisionerSettings
from services.ticket.settings import TicketSettings
from shared.database.migrate import MigrateSettings
from shared.foundation.settings import KafkaSettings, SmtpSettings
from tests.support.pages import ROOT, pages, read

CLASSES: tuple[type[BaseSettings], ...] = (
    TicketSettings,
    ApprovalSettings,
    ProvisionerSettings,
    NotifierSettings,
    AuditSettings,
    KafkaSettings,
    SmtpSettings,
    MigrateSettings,
)
NO_SETTINGS = ("JIT_TEST_", "JIT_CI_", "JIT_WRITE_", "JIT_SECRETS_DIR")
"""Variables of the tests and of CI, and the folder that settings are read from."""

_NAMED = re.compile(r"`(JIT_[A-Z_]+)`(?: \((\d+) s\))?")


def defaults() -> dict[str, object]:
    """Every environment variable with the default of its field."""
    return dict(_fields())


def _fields() -> Iterator[tuple[str, object]]:
    for cls in CLASSES:
        prefix = str(cls.model_config["env_prefix"])
        for name, field in cls.model_fields.items():
            yield f"{prefix}{name}".upper(), field.default


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_named_on_page_exist_with_that_default(page: Path) -> None:
    known = defaults()
    for name, seconds in _NAMED.findall(read(page)):
        if name.startswith(NO_SETTINGS):
            continue
        assert name in known, f"{page.name} names {name}, which no service reads"
        assert not seconds or known[name] == float(seconds), (
            f"{page.name} says that {name} is {seconds} s; its default is {known[name]}"
        )
