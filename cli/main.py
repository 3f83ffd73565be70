"""`jit`: the commands an operator runs. Errors are one sentence and exit code 2."""

import asyncio
import importlib
import sys
from typing import Annotated

import asyncpg
import typer
from aiokafka.errors import KafkaError

from cli import api, iam, incident, keys
from cli.doctor.command import doctor
from cli.settings_page import names_file, settings_page
from shared.contracts import reference
from shared.database.migrate import SERVICES, MigrateSettings, migrate_databases
from shared.database.schema import MigrationError
from shared.foundation.environment import load
from shared.foundation.settings import KafkaSettings
from shared.messaging import kafka
from shared.messaging.acls import acls_of, write_acls
from shared.messaging.topic_check import differences
from shared.runtime.serving import serve

ACLS = "Allow each service at the broker what the table of topics says, and nothing more."

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
app.add_typer(keys.app, name="keys")
app.add_typer(incident.app, name="grants")
app.command("revoke")(incident.revoke)
app.command("iam-policy")(iam.iam_policy)
app.command("doctor")(doctor)


class TopicsDiffer(Exception):
    """Topics are there that are otherwise than the table says."""


@app.command()
def migrate(*, acls: Annotated[bool, typer.Option("--acls", help=ACLS)] = False) -> None:
    """Create or upgrade databases, roles, tables and topics. Safe to run again."""
    settings = load(MigrateSettings)
    broker = load(KafkaSettings)
    try:
        asyncio.run(_migrate(settings, broker, with_acls=acls))
    except (OSError, asyncpg.PostgresError, MigrationError, KafkaError, TopicsDiffer) as error:
        print(
            f"jit migrate: {type(error).__name__}: {error}. What was done stays; run it again.",
            file=sys.stderr,
        )
        raise typer.Exit(2) from None


async def _migrate(settings: MigrateSettings, broker: KafkaSettings, *, with_acls: bool) -> None:
    passwords: dict[str, str] = {
        name: secret.get_secret_value() for name, secret in settings.app_passwords.items()
    }
    applied = await migrate_databases(
        settings.admin_url.get_secret_value(), passwords=passwords, connections=settings.app_connections
    )
    for service, names in applied.items():
        print(f"{service}: {', '.join(names) if names else 'up to date'}")
    created = await kafka.create_topics(broker, replication=settings.topic_replication)
    print(f"topics: {', '.join(created) if created else 'all there'}")
    if with_acls:
        principals = {**{name: f"User:jit-{name}" for name in SERVICES}, **settings.kafka_principals}
        await write_acls(broker, [acl for name in SERVICES for acl in acls_of(name, principals[name])])
        print(f"acls: {', '.join(principals.values())}")
    if wrong := await differences(broker, replication=settings.topic_replication):
        raise TopicsDiffer("; ".join(wrong))


@app.command("serve")
def serve_service(service: str) -> None:
    """Run one service in this process: ticket, approval, provisioner, notifier or audit."""
    if service not in SERVICES:
        raise typer.BadParameter(f"{service} is not a service; choose one of {', '.join(SERVICES)}")
    serve(importlib.import_module(f"services.{service}.__main__").build())


@app.command()
def events() -> None:
    """Print docs/events.md as it follows from the contracts and the table of topics."""
    sys.stdout.write(reference.events_page())


@app.command()
def settings(*, names: bool = False) -> None:
    """Print docs/settings.md as it follows from the settings classes, or with --names the names alone."""
    sys.stdout.write(names_file() if names else settings_page())


@app.command()
def openapi() -> None:
    """Print docs/openapi/jit.json as it follows from the services' routes."""
    sys.stdout.write(api.api_text())


def main() -> None:
    app()


if __name__ == "__main__":
    main()
