"""Settings every service has: environment variables `JIT_*`, checked at start.

A service subclasses `ServiceSettings` in its own settings.py. A value that is wrong stops the process
with exit code 2 and a sentence that names the variable; see `load`.
"""

import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from shared.foundation.issuers import TrustedIssuer

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


class WrongSettings(Exception):
    """Settings that cannot be used: one line for each, beginning with the variable's name."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def read(cls: type[SettingsT], **given: Any) -> SettingsT:
    """Settings out of the environment and the folder of secrets; raises `WrongSettings`."""
    prefix = str(cls.model_config.get("env_prefix", ""))
    try:
        return cls(_secrets_dir=_secrets_dir(), **given)
    except ValidationError as error:
        # Values themselves are not in it: they may be secrets.
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise WrongSettings([_line(prefix, problem["loc"], problem["msg"]) for problem in found]) from None
    except SettingsError as error:
        name = re.search(r'field "(\w+)"', str(error))
        loc = (name[1],) if name else ()
        raise WrongSettings([_line(prefix, loc, "must be JSON, such as a list in brackets")]) from None


def _secrets_dir() -> str | None:
    folder = os.environ.get("JIT_SECRETS_DIR")
    if folder and not Path(folder).is_dir():
        raise WrongSettings(["JIT_SECRETS_DIR: there is no such folder"])
    return folder


def _line(prefix: str, loc: tuple[int | str, ...], message: str) -> str:
    """`JIT_ISSUERS: 0.audience: Field required`; a rule about several variables names them itself."""
    message = message.removeprefix("Value error, ")
    inside = "".join(f"{part}: " for part in (".".join(map(str, loc[1:])),) if part)
    return f"{prefix}{str(loc[0]).upper()}: {inside}{message}" if loc else message


class KafkaSettings(BaseSettings):
    """How to reach the broker; one place for producers, consumers and the table reader."""

    model_config = SettingsConfigDict(env_prefix="JIT_KAFKA_", frozen=True, extra="ignore")

    bootstrap: tuple[str, ...] = ("127.0.0.1:9092",)
    """host:port of one or more brokers, as a JSON list."""
    security: Literal["PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT"] = "PLAINTEXT"
    """SASL_SSL in production; PLAINTEXT for loopback and trusted networks only."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str = ""
    password: SecretStr = SecretStr("")
    ca_file: str | None = None
    """PEM file of the broker's authority; the system's store when absent."""
    fetch_wait_ms: int = Field(default=500, ge=5, le=5000)
    """How long a fetch waits at the broker. Kafka answers as soon as there is data; librdkafka's mock
    cluster does not, so the embedded run sets 30."""
    session_timeout_ms: int = Field(default=30_000, ge=1000)
    """A consumer silent for so long loses its partitions."""


class SmtpSettings(BaseSettings):
    """Where mail goes out; used by the notifier and by operations alerts."""

    model_config = SettingsConfigDict(env_prefix="JIT_SMTP_", frozen=True, extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(default=25, ge=1, le=65535)
    username: str = ""
    password: SecretStr = SecretStr("")
    tls: Literal["none", "starttls", "implicit"] = "none"
    """`none` is for a relay on the same machine; production mail servers want `starttls` or `implicit`."""
    sender: str = "jit@example.com"
    """The From address of every mail."""
    timeout_s: float = Field(default=15.0, gt=0)


class ServiceSettings(BaseSettings):
    """What all five services need. Nothing here is another service's business."""

    model_config = SettingsConfigDict(env_prefix="JIT_", frozen=True, extra="ignore")

    env: Literal["production", "development"] = "production"
    """Production unless said otherwise: then plain-http or loopback issuers and AWS endpoints are refused."""
    instance: str = "default"
    """Name of the organisation's Identity Center instance; part of every key from the first day."""
    database_url: SecretStr
    """DSN of this service's database as its app role, which owns no tables."""
    relay_database_url: SecretStr | None = None
    """A direct connection for the relay and the leases when `database_url` goes through a pooler."""
    pool_size: int = Field(default=8, ge=2, le=100)
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: str = Field(default="http://127.0.0.1:8080", pattern=r"^https?://[^\s/]+")
    """Where people reach JIT; links in mails begin with it."""
    issuers: tuple[TrustedIssuer, ...] = ()
    """Who may issue tokens, as a JSON list; see shared/identity/tokens.py."""
    role_admin: tuple[str, ...] = ()
    """Group ids whose members administer: catalogue, rules, terminate; never request or approve."""
    role_auditor: tuple[str, ...] = ()
    """Identity Store group ids whose members may read everything."""
    alerts_topic_arn: str | None = Field(
        default=None, pattern=r"^arn:[a-z-]+:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_.-]+$"
    )
    """SNS topic for operations alerts; mail alone when absent."""
    alerts_mail_to: tuple[str, ...] = ()
    """Addresses for operations alerts, as a JSON list."""
    alerts_aws_endpoint: str | None = None
    """Another endpoint for SNS; refused in production."""
    otlp_endpoint: str | None = None
    """OTLP/HTTP traces endpoint; without it trace context still travels, but no span leaves the process."""
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    table_stale_after_s: float = Field(default=60.0, gt=0)
    """Markers older than this refuse writes: the copy of policy and inventory may be out of date."""
    kafka: KafkaSettings = Field(default_factory=partial(read, KafkaSettings))
    smtp: SmtpSettings = Field(default_factory=partial(read, SmtpSettings))

    @field_validator("database_url", "relay_database_url")
    @classmethod
    def _is_a_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must look like postgresql://user:password@host:port/database")
        return value

    @model_validator(mode="after")
    def _refuse_development_in_production(self) -> Self:
        if self.env != "production":
            return self
        for issuer in self.issuers:
            if problem := issuer.unfit_for_production():
                raise ValueError(f"JIT_ISSUERS: {problem}; set JIT_ENV=development to allow it")
        if self.alerts_aws_endpoint:
            raise ValueError("JIT_ALERTS_AWS_ENDPOINT: an endpoint override needs JIT_ENV=development")
        return self

    @property
    def direct_database_url(self) -> str:
        return (self.relay_database_url or self.database_url).get_secret_value()

    @property
    def roles(self) -> dict[str, frozenset[str]]:
        return {"admin": frozenset(self.role_admin), "auditor": frozenset(self.role_auditor)}


def load(cls: type[SettingsT], **given: Any) -> SettingsT:
    """Read settings or leave with exit code 2, naming each variable that is missing or wrong."""
    try:
        return read(cls, **given)
    except WrongSettings as error:
        print("\n".join(error.lines), file=sys.stderr)  # noqa: T201 (before logs exist)
        raise SystemExit(2) from None
