"""Settings every service has: environment variables `JIT_*`, checked at start.

A service subclasses `ServiceSettings` in its own settings.py. A value that is wrong stops the process
with exit code 2 and a sentence that names the variable (shared/foundation/environment.py). The text under
a field is its description in docs/settings.md: meaning, unit, and why this default.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from email.utils import parseaddr
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, IPvAnyNetwork, SecretStr, StringConstraints, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.foundation.addresses import address_problem, is_local
from shared.foundation.environment import of_tests, read
from shared.foundation.issuers import TrustedIssuer
from shared.foundation.shapes import ACCOUNT_ID

AccountId = Annotated[str, StringConstraints(pattern=ACCOUNT_ID)]
"""An AWS account, as a setting names it."""
MailAddress = Annotated[str, StringConstraints(pattern=r"^[^@\s,;<>\"]+@[^@\s,;<>\"]+$", max_length=254)]
GroupId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,126}$")]
"""An Identity Store group."""
_DEVELOPMENT: Final = "set JIT_ENV=development to allow it"
_STORE_ID: Final = re.compile(r"(?:[0-9a-f]{10}-)?[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
"""What AWS calls a group by; never its name."""


class KafkaSettings(BaseSettings):
    """How to reach the broker; one place for producers, consumers and the table reader."""

    model_config = SettingsConfigDict(
        env_prefix="JIT_KAFKA_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    bootstrap: tuple[str, ...] = ("127.0.0.1:9092",)
    """host:port of one or more brokers, as a JSON list."""
    security: Literal["PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT"] = "PLAINTEXT"
    """How the connection is kept. Production wants SASL_SSL, or SSL with certificates of the clients."""
    allow_plaintext: bool = False
    """Production refuses PLAINTEXT and SASL_PLAINTEXT, over which anybody on the network reads and writes
    facts, unless this says that the network itself is closed to others."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How the user proves the password; PLAIN only over TLS."""
    username: str = ""
    """The broker's user of this process, for SASL."""
    password: SecretStr = SecretStr("")
    """That user's password."""
    ca_file: str | None = None
    """PEM file of the broker's authority; the system's store when absent."""
    fetch_wait_ms: int = Field(default=500, ge=5, le=5000)
    """How long a fetch waits at the broker. Kafka answers as soon as there is data; librdkafka's mock
    cluster does not, so the embedded run sets 30."""
    session_timeout_ms: int = Field(default=30_000, ge=1000)
    """A consumer silent for so long loses its partitions."""


class SmtpSettings(BaseSettings):
    """Where mail goes out; used by the notifier and by operations alerts."""

    model_config = SettingsConfigDict(
        env_prefix="JIT_SMTP_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    host: str = "127.0.0.1"
    """The mail server; a relay on the same machine unless given."""
    port: int = Field(default=25, ge=1, le=65535)
    """Its port: 25 for a relay, 587 with `starttls`, 465 with `implicit`."""
    username: str = ""
    """The account that sends; none unless given."""
    password: SecretStr = SecretStr("")
    """That account's password; never sent without TLS."""
    tls: Literal["none", "starttls", "implicit"] = "none"
    """`none` is for a relay on the same machine; production mail servers want `starttls` or `implicit`."""
    sender: str = "jit@example.com"
    """The From address of every mail. The default is nobody's, and production refuses it."""
    timeout_s: float = Field(default=15.0, gt=0)
    """Seconds that one answer of the mail server may take; busy servers greet late."""

    @model_validator(mode="after")
    def _no_password_in_clear(self) -> Self:
        if self.tls == "none" and (self.username or self.password.get_secret_value()):
            raise ValueError("JIT_SMTP_TLS: a password is never sent without TLS; use starttls or implicit")
        return self


class ServiceSettings(BaseSettings):
    """What all five services need. Nothing here is another service's business."""

    model_config = SettingsConfigDict(
        env_prefix="JIT_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    env: Literal["production", "development"] = "production"
    """Production unless said otherwise: then plain-http or loopback issuers and AWS endpoints are refused."""
    instance: str = "default"
    """Name of the organisation's Identity Center instance; part of every key from the first day."""
    signing_key_file: Path
    """PEM file of this service's own Ed25519 key, with which it signs all that it sends; `jit keys new` makes
    it. No other service may read it."""
    public_keys_dir: Path
    """Folder with the public keys of all five services, in files `<service>.<key id>.pem`: whoever signs with
    one of them is believed. Read again at least once a minute, so that keys can be changed while all run."""
    database_url: SecretStr
    """DSN of this service's database as its app role, which owns no tables."""
    relay_database_url: SecretStr | None = None
    """A direct connection for the relay and the leases when `database_url` goes through a pooler."""
    pool_size: int = Field(default=8, ge=2, le=100)
    """Connections to the database in this process; eight keep two cores busy."""
    host: str = "127.0.0.1"
    """Where HTTP is served. Loopback unless given; TLS is the reverse proxy's."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port of HTTP; 0 takes a free one."""
    most_connections: int = Field(default=500, ge=10, le=100_000)
    """Connections of HTTP at the same time; who comes after them is answered 503 at once. Each may hold a
    body of 256 KiB, so that 500 take at most 125 MiB."""
    request_within_s: float = Field(default=10.0, gt=0, le=600)
    """Seconds in which the head of a request has to arrive whole, and then its body (at the limit, over
    256 kbit/s, it takes 8). Longer is not waited: the connection is closed, and a body is answered 408. An
    answer of which nothing is read for so long is not waited for either."""
    keep_alive_s: float = Field(default=75.0, gt=0, le=3600)
    """Seconds for which a connection without a request is kept. It has to be longer than whatever stands in
    front keeps its own (load balancers usually 60): the other way round a request meets a closing connection
    now and then, and its caller a 502."""
    requests_per_second: float = Field(default=50.0, gt=0, le=1_000_000)
    """Requests a second that each process answers one caller for ever; more are answered 429 with
    Retry-After. A script that calls one after the other over a network makes some 30; a process answers a
    few hundred. Routes that stop access are not counted."""
    requests_at_once: int = Field(default=200, ge=1, le=1_000_000)
    """Requests that one caller may have answered at once after a rest. A page that loads is some ten."""
    bad_tokens_per_minute: int = Field(default=60, ge=1, le=1_000_000)
    """Requests without a valid token that one address is told what is wrong with, a minute and at once; then
    429. A valid token is never refused because of them. Of IPv6 a /64 counts as one address."""
    public_url: str = Field(default="http://127.0.0.1:8080", pattern=r"^https?://[^\s/]+")
    """Where people reach the API; calls shown in mails begin with it. Production wants an https address."""
    provisioner_url: str | None = Field(default=None, pattern=r"^https?://[^\s/]+")
    """Where the provisioner is asked, with the caller's own token, who a sign-in is that nobody has seen yet.
    JIT_PUBLIC_URL unless given. The provisioner itself looks into its database."""
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    """Networks whose X-Forwarded-For is believed, as a JSON list of CIDRs; none by default: then the address
    of a request is that of the connection, whatever its headers say."""
    issuers: tuple[TrustedIssuer, ...] = ()
    """Who may issue tokens, as a JSON list; see shared/identity/tokens.py."""
    role_admin: tuple[GroupId, ...] = ()
    """Identity Store group ids (not names), as a JSON list. Their members administer: catalog, rules,
    terminate; this role lets nobody request or approve."""
    role_auditor: tuple[GroupId, ...] = ()
    """Identity Store group ids (not names), as a JSON list. Their members may read everything."""
    alerts_topic_arn: str | None = Field(
        default=None, pattern=r"^arn:[a-z-]+:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_.-]+$"
    )
    """SNS topic for operations alerts; mail alone when absent."""
    alerts_mail_to: tuple[MailAddress, ...] = ()
    """Addresses for operations alerts, as a JSON list."""
    alerts_aws_endpoint: str | None = None
    """Another endpoint for SNS; refused in production."""
    otlp_endpoint: str | None = None
    """OTLP/HTTP traces endpoint; without it trace context still travels, but no span leaves the process."""
    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or coloured lines for a person at a terminal."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least that is logged. INFO has a line for each change of state and each request."""
    table_stale_after_s: float = Field(default=60.0, gt=0, le=3600)
    """Seconds after which markers refuse writes: the copy of policy and inventory may be out of date. Six
    markers are missed by then."""
    directory_stale_after_s: float = Field(default=3600.0, ge=60)
    """Seconds after which accounts and people as they were read from AWS refuse requests, votes and grants;
    ending access goes on. An hour: six readings in a row have failed by then. It has to be longer than a
    reading and JIT_INVENTORY_INTERVAL_S together."""
    keep_days: int = Field(default=400, ge=100, le=36_500)
    """Days for which tickets, reviews with their votes, and grants are kept once all about them is over. A
    year and a month: whoever reviews last year's access still finds it. The least is longer than a fact can
    come again. Everything else has fixed times, see docs/retention.md."""
    kafka: KafkaSettings = Field(default_factory=partial(read, KafkaSettings))
    """The broker; set by the variables `JIT_KAFKA_*`."""
    smtp: SmtpSettings = Field(default_factory=partial(read, SmtpSettings))
    """The mail server; set by the variables `JIT_SMTP_*`."""

    @field_validator("database_url", "relay_database_url")
    @classmethod
    def _is_a_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must look like postgresql://user:password@host:port/database")
        return value

    @model_validator(mode="after")
    def _fit_for_production(self) -> Self:
        if self.env == "production" and (reasons := list(self.unfit())):
            raise ValueError("\n".join(reasons))
        return self

    @property
    def keep(self) -> timedelta:
        return timedelta(days=self.keep_days)

    def unfit(self) -> Iterator[str]:
        """Why production cannot work with these or trust them: every reason, by the variable's name."""
        for issuer in self.issuers:
            if problem := issuer.unfit_for_production():
                yield f"JIT_ISSUERS: {problem}; {_DEVELOPMENT}"
        if not self.issuers:
            yield "JIT_ISSUERS: nobody can sign in: name at least one issuer of tokens"
        if not self.role_admin:
            yield "JIT_ROLE_ADMIN: nobody can administer: name at least one Identity Store group id"
        for name, groups in (("JIT_ROLE_ADMIN", self.role_admin), ("JIT_ROLE_AUDITOR", self.role_auditor)):
            for group in groups:
                if _STORE_ID.fullmatch(group) is None:
                    yield f"{name}: {group} is no Identity Store group id; a group's name is not its id"
        if self.alerts_aws_endpoint:
            yield "JIT_ALERTS_AWS_ENDPOINT: an endpoint override needs JIT_ENV=development"
        yield from self._unfit_servers()

    def _unfit_servers(self) -> Iterator[str]:
        if problem := address_problem(self.public_url):
            yield f"JIT_PUBLIC_URL: {problem}; people need an https address; {_DEVELOPMENT}"
        if self.kafka.security in {"PLAINTEXT", "SASL_PLAINTEXT"} and not self.kafka.allow_plaintext:
            yield (
                "JIT_KAFKA_SECURITY: anybody on the network could read and write facts; use SASL_SSL, or say "
                "JIT_KAFKA_ALLOW_PLAINTEXT=true where the network is closed to others"
            )
        if parseaddr(self.smtp.sender)[1].lower().endswith("@example.com"):
            yield "JIT_SMTP_SENDER: mail needs a sender of your own"
        for name in of_tests():
            yield f"{name}: tests go by it, no process does; {_DEVELOPMENT}"

    def cautions(self) -> list[str]:
        """What works and should not stay as it is; logged at each start, a line each."""
        if self.env != "production":
            return [f"JIT_ENV is {self.env}: plain http, loopback issuers and endpoint overrides are allowed"]
        found = []
        if not self.alerts_topic_arn and not self.alerts_mail_to:
            found.append("JIT_ALERTS_MAIL_TO and JIT_ALERTS_TOPIC_ARN are empty: alerts reach the log only")
        if self.provisioner_url and self.provisioner_url.startswith("http://"):
            found.append("JIT_PROVISIONER_URL is plain http: people's tokens cross the network unencrypted")
        if self.kafka.allow_plaintext:
            found.append("JIT_KAFKA_ALLOW_PLAINTEXT: whoever reaches the broker can read and write facts")
        found += [
            f"JIT_TRUSTED_PROXIES holds {network}: whoever calls can name any address"
            for network in self.trusted_proxies
            if network.prefixlen == 0
        ]
        if self.smtp.tls == "none" and not is_local(self.smtp.host):
            found.append("JIT_SMTP_TLS is none: mail crosses the network unencrypted")
        if self.sends_mail and is_local(self.smtp.host):
            found.append("JIT_SMTP_HOST is this machine: mail waits for ever unless a relay listens here")
        return found

    @property
    def sends_mail(self) -> bool:
        """Whether this process has anybody to write to."""
        return bool(self.alerts_mail_to)

    @property
    def direct_database_url(self) -> str:
        return (self.relay_database_url or self.database_url).get_secret_value()

    @property
    def roles(self) -> dict[str, frozenset[str]]:
        return {"admin": frozenset(self.role_admin), "auditor": frozenset(self.role_auditor)}
