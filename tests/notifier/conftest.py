from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from local.issuer import DevelopmentIssuer
from local.mailbox import Mailbox, mailbox
from services.notifier.__main__ import build
from services.notifier.email.smtp import Mailer
from services.notifier.settings import NotifierSettings
from shared.foundation.clock import ManualClock
from shared.foundation.settings import SmtpSettings
from shared.runtime.service import Process
from tests.notifier.post import Post
from tests.support import organisation
from tests.support.harness import NOW, empty, ready_tables, service_database, with_pool
from tests.support.http import issuer_server, trusted
from tests.support.signing import key_settings


@pytest.fixture(scope="session")
async def notifier_dsn(admin_dsn: str) -> AsyncIterator[str]:
    async with service_database(admin_dsn, "notifier") as dsn:
        yield dsn


@pytest.fixture
async def empty_dsn(notifier_dsn: str, admin_dsn: str) -> str:
    """The app role's DSN of a database without content; the app role itself may not delete."""
    own = ("delivery_notice", "delivery", "notice", "known_ticket")
    await empty(admin_dsn, notifier_dsn, *own, "inbox", "outbox", "idempotency_key")
    return notifier_dsn


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Mailbox]:
    async with mailbox(tmp_path) as receiving:
        yield receiving


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevelopmentIssuer]:
    with issuer_server(tmp_path_factory.mktemp("issuer")) as running:
        yield running


@pytest.fixture
async def post(empty_dsn: str, box: Mailbox, issuer: DevelopmentIssuer) -> AsyncIterator[Post]:
    clock = ManualClock(NOW)
    settings = NotifierSettings(
        env="development",
        database_url=empty_dsn,
        **key_settings("notifier"),
        public_url="https://jit.example.com",
        pages_url="https://pages.example.com",
        issuers=(trusted(issuer),),
        role_admin=tuple(organisation.ROLES["admin"]),
        role_auditor=tuple(organisation.ROLES["auditor"]),
        smtp=SmtpSettings(port=box.port, timeout_s=5),
    )
    mailer = Mailer(settings.smtp, within=settings.mail_send_within)
    async with with_pool(build(settings, process=Process(clock, ready_tables(clock)))) as service:
        yield Post(service, settings, clock, box, mailer)
        await mailer.close()
