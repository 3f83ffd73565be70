"""Settings: each that is missing or wrong is named, the process leaves with 2, and no secret is printed."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from cli.settings_page import READERS, names_file, settings_of, settings_page
from services.notifier.settings import NotifierSettings
from services.ticket.settings import TicketSettings
from shared.database.migrate import MigrateSettings
from shared.foundation.clock import ManualClock
from shared.foundation.environment import load
from shared.foundation.settings import KafkaSettings, ServiceSettings, SmtpSettings
from shared.runtime.service import Parts, Process, Service
from tests.support.harness import NOW
from tests.support.pages import ROOT

DSN = "postgresql://app:hunter2@db/ticket"
ISSUER = {"issuer": "https://login.example.com", "audience": "jit", "claim": "sub", "lookup": "user_name"}


GROUP = "ad3f0e5c-20a1-70de-9f3a-7c1f2f0b1a11"
PRODUCTION = {
    "JIT_DATABASE_URL": DSN,
    "JIT_SIGNING_KEY_FILE": "/keys/signing.pem",
    "JIT_PUBLIC_KEYS_DIR": "/keys/public",
    "JIT_PUBLIC_URL": "https://jit.example.org",
    "JIT_ISSUERS": json.dumps([ISSUER]),
    "JIT_ROLE_ADMIN": json.dumps([GROUP]),
    "JIT_KAFKA_SECURITY": "SASL_SSL",
    "JIT_SMTP_SENDER": "jit@example.org",
}
"""What production cannot do without."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What production needs, and nothing else."""
    for name in list(os.environ):
        if name.startswith("JIT_"):
            monkeypatch.delenv(name)
    set_all(monkeypatch, PRODUCTION)
    return monkeypatch


def set_all(monkeypatch: pytest.MonkeyPatch, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """What is said when loading fails, with exit code 2."""
    with pytest.raises(SystemExit) as left:
        load(ServiceSettings)
    assert left.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


WRONG = {
    "JIT_ENV": "staging",
    "JIT_DATABASE_URL": "mysql://hunter2@db",
    "JIT_RELAY_DATABASE_URL": "hunter2",
    "JIT_POOL_SIZE": "1",
    "JIT_PORT": "web",
    "JIT_PUBLIC_URL": "jit.example.com",
    "JIT_ISSUERS": "hunter2",
    "JIT_ROLE_ADMIN": "admins",
    "JIT_ROLE_AUDITOR": '"auditors"',
    "JIT_ALERTS_TOPIC_ARN": "alerts",
    "JIT_ALERTS_MAIL_TO": "ops@example.com",
    "JIT_LOG_FORMAT": "xml",
    "JIT_LOG_LEVEL": "loud",
    "JIT_TABLE_STALE_AFTER_S": "inf",
    "JIT_KAFKA_BOOTSTRAP": "kafka:9092",
    "JIT_KAFKA_SECURITY": "TLS",
    "JIT_KAFKA_SASL_MECHANISM": "GSSAPI",
    "JIT_KAFKA_FETCH_WAIT_MS": "1",
    "JIT_KAFKA_SESSION_TIMEOUT_MS": "1",
    "JIT_SMTP_PORT": "0",
    "JIT_SMTP_TLS": "yes",
    "JIT_SMTP_TIMEOUT_S": "0",
    "JIT_SECRETS_DIR": "/nowhere/hunter2",
}


@pytest.mark.parametrize(("name", "value"), WRONG.items(), ids=WRONG)
def test_a_wrong_setting_is_named_and_its_value_is_not_printed(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    environment.setenv(name, value)
    said = refusal(capsys)
    assert said.startswith(f"{name}: ")
    assert "hunter2" not in said
    assert len(said.strip().splitlines()) == 1


def test_a_missing_setting_is_named(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.delenv("JIT_DATABASE_URL")
    assert refusal(capsys) == "JIT_DATABASE_URL: Field required\n"


def test_everything_wrong_is_said_at_once(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_all(environment, {"JIT_PORT": "web", "JIT_ENV": "staging", "JIT_POOL_SIZE": "x"})
    names = {line.partition(":")[0] for line in refusal(capsys).splitlines()}
    assert names == {"JIT_PORT", "JIT_ENV", "JIT_POOL_SIZE"}


def test_an_error_inside_a_list_says_where(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("JIT_ISSUERS", json.dumps([ISSUER, {**ISSUER, "lookup": "shoe size"}]))
    assert refusal(capsys).startswith("JIT_ISSUERS: 1.lookup: ")


@pytest.mark.parametrize(
    "given",
    [
        {"JIT_ISSUERS": json.dumps([{**ISSUER, "issuer": "http://login.example.com"}])},
        {"JIT_ISSUERS": json.dumps([{**ISSUER, "issuer": "https://127.0.0.1:9000"}])},
        {"JIT_ISSUERS": json.dumps([{**ISSUER, "jwks_url": "http://login.example.com/keys"}])},
        {"JIT_ALERTS_AWS_ENDPOINT": "http://127.0.0.1:4566"},
    ],
)
def test_what_is_for_development_is_refused_in_production(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: dict[str, str]
) -> None:
    set_all(environment, given)
    said = refusal(capsys)
    assert said.startswith(f"{next(iter(given))}: ")
    assert "JIT_ENV=development" in said
    environment.setenv("JIT_ENV", "development")
    load(ServiceSettings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JIT_ISSUERS", "[]"),
        ("JIT_ROLE_ADMIN", "[]"),
        ("JIT_ROLE_ADMIN", '["admins"]'),
        ("JIT_ROLE_AUDITOR", '["auditors"]'),
        ("JIT_PUBLIC_URL", "http://jit.example.org"),
        ("JIT_PUBLIC_URL", "https://localhost:8080"),
        ("JIT_KAFKA_SECURITY", "PLAINTEXT"),
        ("JIT_KAFKA_SECURITY", "SASL_PLAINTEXT"),
        ("JIT_SMTP_SENDER", "jit@example.com"),
        ("JIT_SMTP_SENDER", "JIT <jit@EXAMPLE.COM>"),
        ("JIT_PUBLIC_URL", "https://[::ffff:127.0.0.1]"),
        ("JIT_TEST_SERVERS", "embedded"),
        ("jit_test_servers", "embedded"),
    ],
)
def test_what_cannot_work_is_refused_in_production_only(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    environment.setenv(name, value)
    assert refusal(capsys).startswith(f"{name.upper()}: ")
    environment.setenv("JIT_ENV", "development")
    load(ServiceSettings)


def test_a_plain_broker_in_production_is_said_aloud(environment: pytest.MonkeyPatch) -> None:
    set_all(environment, {"JIT_KAFKA_SECURITY": "PLAINTEXT", "JIT_KAFKA_ALLOW_PLAINTEXT": "true"})
    assert any(line.startswith("JIT_KAFKA_ALLOW_PLAINTEXT") for line in load(ServiceSettings).cautions())


@pytest.mark.parametrize(
    ("cls", "given", "warns"),
    [
        (NotifierSettings, {}, True),
        (NotifierSettings, {"JIT_SMTP_HOST": "localhost"}, True),
        (NotifierSettings, {"JIT_SMTP_HOST": "smtp.example.org", "JIT_SMTP_TLS": "starttls"}, False),
        (ServiceSettings, {}, False),
        (ServiceSettings, {"JIT_ALERTS_MAIL_TO": '["operations@example.org"]'}, True),
    ],
)
def test_mail_that_goes_to_this_machine_is_said_aloud(
    environment: pytest.MonkeyPatch, cls: type[ServiceSettings], given: dict[str, str], warns: bool
) -> None:
    set_all(environment, given)
    assert any(line.startswith("JIT_SMTP_HOST") for line in load(cls).cautions()) is warns


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("JIT_PROTECTED_ACCOUNT", "JIT_PROTECTED_ACCOUNTS"),
        ("JIT_ROLE_ADMINS", "JIT_ROLE_ADMIN"),
        ("JIT_KAFKA_BOOTSTRAPS", "JIT_KAFKA_BOOTSTRAP"),
        ("JIT_SHORTEST_WINDOWS", "JIT_SHORTEST_WINDOW"),
    ],
)
def test_an_unknown_setting_is_refused_and_names_the_nearest(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, nearest: str
) -> None:
    environment.setenv(name, "1")
    assert refusal(capsys).startswith(f"{name}: there is no such setting; did you mean {nearest}?")


def test_a_mail_password_without_tls_is_refused_everywhere(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_all(
        environment, {"JIT_ENV": "development", "JIT_SMTP_USERNAME": "jit", "JIT_SMTP_PASSWORD": "hunter2"}
    )
    said = refusal(capsys)
    assert said.startswith("JIT_SMTP_TLS: ")
    assert "hunter2" not in said
    environment.setenv("JIT_SMTP_TLS", "starttls")
    load(ServiceSettings)


def test_a_page_address_of_mails_is_looked_at_in_production(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("JIT_PAGES_URL", "http://pages.example.org")
    with pytest.raises(SystemExit):
        load(NotifierSettings)
    assert capsys.readouterr().err.startswith("JIT_PAGES_URL: ")


def test_a_proxy_that_is_everybody_is_said_aloud(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JIT_TRUSTED_PROXIES", '["0.0.0.0/0"]')
    assert any(line.startswith("JIT_TRUSTED_PROXIES") for line in load(ServiceSettings).cautions())


@pytest.mark.parametrize(("scheme", "warns"), [("http", True), ("https", False)])
def test_a_provisioner_in_plain_http_is_said_aloud(
    environment: pytest.MonkeyPatch, scheme: str, warns: bool
) -> None:
    environment.setenv("JIT_PROVISIONER_URL", f"{scheme}://provisioner:8080")
    said = [line.startswith("JIT_PROVISIONER_URL") for line in load(ServiceSettings).cautions()]
    assert any(said) is warns


def test_a_setting_of_another_service_is_known(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JIT_SHORTEST_WINDOW", "PT5M")
    load(ServiceSettings)


@pytest.mark.parametrize("name", ["jit_pool_sise", "Jit_Pool_Sise"])
def test_an_unknown_setting_is_refused_whatever_its_case(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    environment.setenv(name, "9")
    assert refusal(capsys).startswith("JIT_POOL_SISE: there is no such setting; did you mean JIT_POOL_SIZE?")


def test_the_folder_of_secrets_is_found_whatever_the_case(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_all(environment, {"jit_secrets_dir": str(tmp_path), "JIT_SMTP_TLS": "starttls"})
    (tmp_path / "jit_smtp_username").write_text("jit")
    assert load(ServiceSettings).smtp.username == "jit"


def test_an_unknown_file_among_the_secrets_is_refused(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    environment.setenv("JIT_SECRETS_DIR", str(tmp_path))
    (tmp_path / "jit_smtp_pasword").write_text("hunter2")
    said = refusal(capsys)
    assert said.startswith("JIT_SMTP_PASWORD: there is no such setting; did you mean JIT_SMTP_PASSWORD?")
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("cls", "name", "value"),
    [
        (TicketSettings, "JIT_PROTECTED_ACCOUNTS", '["12345"]'),
        (TicketSettings, "JIT_ALLOW_PROTECTED_ACCOUNTS", '["a name"]'),
        (ServiceSettings, "JIT_ROLE_ADMIN", '["two words"]'),
        (ServiceSettings, "JIT_ALERTS_MAIL_TO", '["operations"]'),
        (MigrateSettings, "JIT_MIGRATE_APP_PASSWORDS", '{"tickets": "hunter2"}'),
        (MigrateSettings, "JIT_MIGRATE_TOPIC_REPLICATION", "0"),
    ],
)
def test_a_value_inside_a_list_is_looked_at(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cls: type[BaseSettings],
    name: str,
    value: str,
) -> None:
    set_all(environment, {"JIT_ENV": "development", "JIT_MIGRATE_ADMIN_URL": DSN, name: value})
    with pytest.raises(SystemExit) as left:
        load(cls)
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{name}: ")
    assert "hunter2" not in said


def test_the_page_and_the_names_are_as_generated() -> None:
    assert (ROOT / "docs/settings.md").read_text() == settings_page(), "run make generate"
    names = (ROOT / "shared/foundation/setting_names.txt").read_text()
    assert names == names_file(), "run make generate"


def test_every_setting_says_what_it_means() -> None:
    for cls in READERS.values():
        for setting in settings_of(cls):
            assert setting.meaning, f"{setting.name}: write what it means under the field"


def test_a_settable_clock_is_refused_in_production() -> None:
    with pytest.raises(ValueError, match="settable clock"):
        Service("ticket", load(ServiceSettings), Parts(), process=Process(ManualClock(NOW)))


def test_production_is_the_default_and_little_is_needed() -> None:
    settings = load(ServiceSettings)
    assert settings.env == "production"
    assert settings.direct_database_url == DSN
    assert settings.roles == {"admin": frozenset({GROUP}), "auditor": frozenset()}
    assert settings.cautions() == [
        "JIT_ALERTS_MAIL_TO and JIT_ALERTS_TOPIC_ARN are empty: alerts reach the log only"
    ]


def test_secrets_are_not_in_what_settings_print() -> None:
    settings = load(
        ServiceSettings,
        kafka=KafkaSettings(password="hunter2"),
        smtp=SmtpSettings(password="hunter2", tls="starttls"),
        relay_database_url=DSN,
    )
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert "hunter2" not in text


def test_secrets_come_from_files_for_every_part(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.delenv("JIT_DATABASE_URL")
    set_all(environment, {"JIT_SECRETS_DIR": str(tmp_path), "JIT_SMTP_TLS": "implicit"})
    for name, value in {
        "jit_database_url": DSN,
        "jit_kafka_password": "for kafka",
        "jit_smtp_password": "for mail",
    }.items():
        (tmp_path / name).write_text(value)
    settings = load(ServiceSettings)
    assert settings.database_url.get_secret_value() == DSN
    assert settings.kafka.password.get_secret_value() == "for kafka"
    assert settings.smtp.password.get_secret_value() == "for mail"


def test_lists_are_json(environment: pytest.MonkeyPatch) -> None:
    set_all(
        environment,
        {
            "JIT_ISSUERS": json.dumps([ISSUER]),
            "JIT_ENV": "development",
            "JIT_ROLE_ADMIN": '["g-1", "g-2"]',
            "JIT_KAFKA_BOOTSTRAP": '["a:1", "b:2"]',
            "JIT_ALERTS_MAIL_TO": '["ops@example.com"]',
        },
    )
    settings = load(ServiceSettings)
    assert settings.roles["admin"] == {"g-1", "g-2"}
    assert settings.kafka.bootstrap == ("a:1", "b:2")
    assert settings.issuers[0].audience == "jit"


def test_given_values_win_over_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JIT_PORT", "1234")
    given: dict[str, Any] = {"port": 4321}
    assert load(ServiceSettings, **given).port == 4321
