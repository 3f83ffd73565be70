"""`jit doctor` against what is really wrong: keys, database, broker and mail."""

import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from pydantic import SecretStr

from cli.doctor.broker import check_broker
from cli.doctor.database import check_database
from cli.doctor.findings import Finding, Grade, exit_code, fail, ok, warn
from cli.doctor.keys import check_keys
from cli.doctor.mail import check_mail
from local.kafka import MockKafka
from local.mailbox import Mailbox
from services.ticket.settings import TicketSettings
from shared.contracts.topics import TOPICS
from shared.foundation.settings import KafkaSettings, ServiceSettings, SmtpSettings
from shared.messaging.key_folder import KeyFolder
from tests.cli.test_main import jit
from tests.support.harness import service_database
from tests.support.servers import embedded_kafka
from tests.support.signing import KEYS, key_settings, made_keys

NOWHERE = "postgresql://jit_ticket_app:s3cr3t-canary@127.0.0.1:1/jit_ticket"


def settings_of(**given: Any) -> ServiceSettings:
    fields = {"env": "development", "database_url": SecretStr(NOWHERE), **key_settings("ticket")}
    return ServiceSettings(**(fields | given))


def graded(found: list[Finding]) -> list[tuple[str, str]]:
    return [(one.grade.value, one.check) for one in found]


def test_finding_is_one_line_with_what_to_do() -> None:
    assert str(ok("a.b", "well")) == "ok a.b: well"
    assert str(fail("a.b", "a server\nsaid\r\nthis", "do that")) == "fail a.b: a server said this -> do that"


@pytest.mark.parametrize(
    ("grades", "code"),
    [
        ([], 0),
        ([ok("a", "")], 0),
        ([ok("a", ""), warn("b", "", "")], 1),
        ([fail("c", "", ""), ok("a", "")], 2),
    ],
)
def test_exit_code_is_that_of_the_worst(grades: list[Finding], code: int) -> None:
    assert exit_code(grades) == code


# keys


async def test_keys_that_are_there_and_believed_are_ok() -> None:
    assert graded(await check_keys("ticket", settings_of())) == [("ok", "keys.own"), ("ok", "keys.others")]


async def test_keys_that_cannot_work_fail(tmp_path: Path) -> None:
    keys = made_keys(tmp_path)
    for file in keys.public.glob("audit.*.pem"):
        file.unlink()
    for file in keys.public.glob("ticket.*.pem"):
        file.unlink()
    [own, others] = await check_keys("ticket", settings_of(**key_settings("ticket", keys)))
    assert (own.grade, others.grade) == (Grade.FAIL, Grade.FAIL)
    assert "nobody would believe what it signs" in own.found
    assert "no key of ticket, audit" in others.found


async def test_private_key_that_others_may_read_and_a_change_of_keys_are_told(tmp_path: Path) -> None:
    keys = made_keys(tmp_path)
    keys.make("approval")
    keys.signing_file("ticket").chmod(0o640)
    found = await check_keys("ticket", settings_of(**key_settings("ticket", keys)))
    assert graded(found) == [("ok", "keys.own"), ("warn", "keys.own"), ("warn", "keys.others")]
    assert "several keys of approval" in found[2].found


async def test_keys_that_are_not_there_say_where(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path)
    found = await check_keys("ticket", settings_of(**key_settings("ticket", keys)))
    assert graded(found) == [("fail", "keys.own"), ("fail", "keys.others")]
    assert "signing.pem" in found[0].found


# database


@asynccontextmanager
async def administered(admin_dsn: str, dsn: str) -> AsyncIterator[Any]:
    conn = await asyncpg.connect(urlsplit(admin_dsn)._replace(path=urlsplit(dsn).path).geturl())
    try:
        yield conn
    finally:
        await conn.close()


@pytest.fixture(scope="module")
async def dsn(own_admin_dsn: str) -> AsyncIterator[str]:
    async with service_database(own_admin_dsn, "audit") as found:
        yield found


async def database(dsn: str, **given: Any) -> dict[str, Finding]:
    found = await check_database("audit", settings_of(database_url=SecretStr(dsn), **given))
    return {one.check: one for one in found}


async def test_database_as_migrate_leaves_it_is_ok(dsn: str) -> None:
    found = await database(dsn)
    assert [one.grade for one in found.values()] == [Grade.OK] * 6
    assert set(found) == {
        "database.reached", "database.schema", "database.role", "database.connections", "database.rights",
        "clock.machine",
    }  # fmt: skip
    assert found["database.connections"].found == "60 are allowed, enough for 5 replicas"


@pytest.mark.parametrize(
    ("wrong", "mended", "check", "told"),
    [
        ("GRANT DELETE ON audit_event TO jit_audit_app", "REVOKE DELETE ON audit_event FROM jit_audit_app",
         "database.rights", "also has DELETE on audit_event"),
        ("GRANT UPDATE (type) ON outbox TO PUBLIC", "REVOKE UPDATE (type) ON outbox FROM PUBLIC",
         "database.rights", "also has UPDATE on outbox.type"),
        ("REVOKE EXECUTE ON FUNCTION append FROM jit_audit_app",
         "GRANT EXECUTE ON FUNCTION append TO jit_audit_app", "database.rights", "lacks EXECUTE on append"),
        ("REVOKE SELECT ON audit_event FROM jit_audit_app", "GRANT SELECT ON audit_event TO jit_audit_app",
         "database.rights", "lacks SELECT on audit_event"),
        ("GRANT CREATE ON SCHEMA public TO jit_audit_app",
         "REVOKE CREATE ON SCHEMA public FROM jit_audit_app", "database.role", "may make tables"),
        ("ALTER ROLE jit_audit_app CREATEDB", "ALTER ROLE jit_audit_app NOCREATEDB",
         "database.role", "is CREATEDB"),
        ("GRANT jit_audit_owner TO jit_audit_app", "REVOKE jit_audit_owner FROM jit_audit_app",
         "database.role", "is in jit_audit_owner"),
        ("CREATE TABLE mine (); ALTER TABLE mine OWNER TO jit_audit_app", "DROP TABLE mine",
         "database.role", "owns mine"),
    ],
)  # fmt: skip
async def test_role_with_other_rights_than_its_own_fails(
    own_admin_dsn: str, dsn: str, wrong: str, mended: str, check: str, told: str
) -> None:
    async with administered(own_admin_dsn, dsn) as conn:
        await conn.execute(wrong)
        try:
            found = await database(dsn)
        finally:
            await conn.execute(mended)
    assert found[check].grade is Grade.FAIL
    assert told in found[check].found
    assert (await database(dsn))[check].grade is Grade.OK


@pytest.mark.parametrize(
    ("limit", "grade", "told"),
    [(-1, Grade.WARN, "may take all"), (10, Grade.FAIL, "a replica needs 11"), (11, Grade.OK, "1 replicas")],
)
async def test_connections_must_be_enough_for_a_replica(
    own_admin_dsn: str, dsn: str, limit: int, grade: Grade, told: str
) -> None:
    async with administered(own_admin_dsn, dsn) as conn:
        await conn.execute(f"ALTER ROLE jit_audit_app CONNECTION LIMIT {limit}")
        try:
            found = (await database(dsn, pool_size=8))["database.connections"]
        finally:
            await conn.execute("ALTER ROLE jit_audit_app CONNECTION LIMIT 60")
    assert found.grade is grade
    assert told in found.found


async def test_role_that_may_connect_elsewhere_is_told(own_admin_dsn: str, dsn: str) -> None:
    async with administered(own_admin_dsn, dsn) as conn:
        await conn.execute("GRANT CONNECT ON DATABASE postgres TO jit_audit_app")
        try:
            found = await check_database("audit", settings_of(database_url=SecretStr(dsn)))
        finally:
            await conn.execute("REVOKE CONNECT ON DATABASE postgres FROM jit_audit_app")
    assert ("warn", "may connect to postgres") in [
        (one.grade.value, one.found.partition(" ")[2]) for one in found if one.check == "database.role"
    ]


async def test_database_of_an_older_release_fails_and_nothing_else_is_looked_at(
    own_admin_dsn: str, dsn: str
) -> None:
    async with administered(own_admin_dsn, dsn) as conn:
        [gone] = await conn.fetch(
            "DELETE FROM schema_migration WHERE name = 'audit/0004_numbers' RETURNING name, digest"
        )
        try:
            found = await database(dsn)
        finally:
            await conn.execute(
                "INSERT INTO schema_migration (name, digest) VALUES ($1, $2)", gone["name"], gone["digest"]
            )
    assert list(found) == ["database.reached", "database.schema"]
    assert found["database.schema"].grade is Grade.FAIL
    assert "audit/0004_numbers" in found["database.schema"].found


@pytest.mark.parametrize("wrong", [NOWHERE, "postgresql://[::1"])
async def test_database_that_is_not_reached_fails_without_its_password(wrong: str) -> None:
    [found] = await check_database("audit", settings_of(database_url=SecretStr(wrong)))
    assert (found.grade, found.check) == (Grade.FAIL, "database.reached")
    assert "canary" not in str(found)


async def test_wrong_password_fails_without_it(dsn: str) -> None:
    wrong = dsn.replace(":test@", ":s3cr3t-canary@")
    assert wrong != dsn
    # A server that trusts loopback takes any password; what matters is what is shown.
    for found in await check_database("audit", settings_of(database_url=SecretStr(wrong))):
        assert "canary" not in str(found)


# broker


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    with embedded_kafka() as mock:
        yield mock


def partitions(**other: int) -> dict[str, int]:
    return {topic.name: other.get(topic.owner, topic.partitions) for topic in TOPICS.values()}


async def broker(bootstrap: str) -> list[Finding]:
    return await check_broker("ticket", KafkaSettings(bootstrap=(bootstrap,)))


async def test_broker_with_the_topics_of_the_table_is_ok_and_rights_it_does_not_tell_are_doubtful(
    kafka: MockKafka,
) -> None:
    kafka.create_topics(partitions())
    found = await broker(kafka.bootstrap)
    assert graded(found) == [("ok", "broker.reached"), ("ok", "broker.topics"), ("warn", "broker.rights")]


async def test_broker_with_other_topics_fails(kafka: MockKafka) -> None:
    kafka.create_topics({name: count for name, count in partitions(ticket=5).items() if "rules" not in name})
    told = [one.found for one in await broker(kafka.bootstrap) if one.grade is Grade.FAIL]
    assert "jit.ticket.v1 has 5 partitions, and 12 are wanted" in told
    assert "jit.rules.v1 is not there" in told
    assert not [one for one in told if "notification" in one], "the ticket service has nothing to do with it"


async def test_broker_that_is_away_fails() -> None:
    [found] = await broker("127.0.0.1:1")
    assert (found.grade, found.check) == (Grade.FAIL, "broker.reached")


# mail


@pytest.fixture
async def mailbox(tmp_path: Path) -> AsyncIterator[Mailbox]:
    box = Mailbox(tmp_path)
    await box.start()
    try:
        yield box
    finally:
        await box.stop()


def mailing(port: int, **smtp: Any) -> ServiceSettings:
    return settings_of(smtp=SmtpSettings(port=port, timeout_s=3, **smtp), alerts_mail_to=("ops@example.com",))


async def test_mail_server_that_answers_is_ok_and_nothing_is_sent(mailbox: Mailbox) -> None:
    found = await check_mail("notifier", mailing(mailbox.port), send_to=None)
    assert graded(found) == [("ok", "mail.server")]
    assert mailbox.mails() == []


async def test_mail_is_sent_to_who_is_named(mailbox: Mailbox) -> None:
    found = await check_mail("notifier", mailing(mailbox.port), send_to="ann@example.com")
    assert graded(found) == [("ok", "mail.server"), ("ok", "mail.sent")]
    [mail] = mailbox.mails()
    assert mail.receipt.recipients == ("ann@example.com",)


async def test_mail_that_is_refused_fails(mailbox: Mailbox) -> None:
    mailbox.refuse(550, recipient="ann@example.com")
    found = await check_mail("notifier", mailing(mailbox.port), send_to="ann@example.com")
    assert graded(found) == [("ok", "mail.server"), ("fail", "mail.sent")]


async def test_mail_server_without_the_tls_that_is_wanted_fails(mailbox: Mailbox) -> None:
    settings = mailing(mailbox.port, tls="starttls", username="jit", password=SecretStr("s3cr3t-canary"))
    [found] = await check_mail("notifier", settings, send_to=None)
    assert (found.grade, found.check) == (Grade.FAIL, "mail.server")
    assert "canary" not in str(found)


async def test_mail_server_that_is_away_fails() -> None:
    [found] = await check_mail("notifier", mailing(1), send_to=None)
    assert found.grade is Grade.FAIL


async def test_alerts_that_go_nowhere_are_told_and_mail_is_not_asked_for() -> None:
    found = await check_mail("ticket", settings_of(smtp=SmtpSettings(port=1)), send_to=None)
    assert graded(found) == [("warn", "alerts")]


# the command


def environment(port: int) -> dict[str, str]:
    return {
        "JIT_ENV": "development",
        "JIT_DATABASE_URL": NOWHERE,
        "JIT_SIGNING_KEY_FILE": str(KEYS.signing_file("ticket")),
        "JIT_PUBLIC_KEYS_DIR": str(KEYS.public),
        "JIT_KAFKA_BOOTSTRAP": json.dumps([f"127.0.0.1:{port}"]),
    }


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def test_doctor_prints_a_line_each_and_leaves_with_the_worst() -> None:
    done = jit("doctor", "ticket", **environment(closed_port()))
    assert done.exit_code == 2
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", "keys.own:"], ["ok", "keys.others:"], ["fail", "database.reached:"],
        ["fail", "broker.reached:"], ["warn", "alerts:"],
    ]  # fmt: skip
    assert "canary" not in done.output


def test_doctor_prints_json_an_object_a_line() -> None:
    done = jit("doctor", "ticket", "--output", "json", **environment(closed_port()))
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["check"] for one in found if one["grade"] == "fail"] == ["database.reached", "broker.reached"]
    assert all(set(one) == {"grade", "check", "found", "remedy"} for one in found)


def test_doctor_with_wrong_settings_or_of_nothing_exits_2() -> None:
    assert jit("doctor", "ticket").exit_code == 2
    unknown = jit("doctor", "portal")
    assert unknown.exit_code == 2
    assert "ticket, approval" in unknown.stderr


def test_ticket_settings_are_found_by_the_services_name() -> None:
    done = jit("doctor", "ticket", **environment(closed_port()), JIT_MOST_GRANTS="0")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "JIT_MOST_GRANTS" in done.stderr
    assert "most_grants" in TicketSettings.model_fields
