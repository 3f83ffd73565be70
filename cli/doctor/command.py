"""`jit doctor`: looks at everything a service needs, with the service's own settings, and changes nothing.

A line for each thing: `ok`, `warn` or `fail`, and what to do. It leaves with 0, 1 or 2, by the worst of them.
"""

import asyncio
import importlib
import json
from enum import StrEnum
from typing import Annotated

import typer

from cli.doctor.aws import check_aws
from cli.doctor.broker import check_broker
from cli.doctor.database import check_database
from cli.doctor.findings import Finding, exit_code
from cli.doctor.keys import check_keys
from cli.doctor.mail import check_mail
from services.provisioner.settings import ProvisionerSettings
from shared.database.migrate import SERVICES
from shared.foundation.environment import load
from shared.foundation.settings import ServiceSettings


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


def doctor(
    service: Annotated[str, typer.Argument(help=f"Whose settings are here: {', '.join(SERVICES)}.")],
    *,
    output: Annotated[Output, typer.Option(help="JSON is one object a line.")] = Output.TEXT,
    send_to: Annotated[str | None, typer.Option(help="Send a mail there; else none is sent.")] = None,
) -> None:
    """Look at keys, database, broker, mail and, for the provisioner, AWS; leaves with 0, 1 or 2."""
    if service not in SERVICES:
        raise typer.BadParameter(f"{service} is not a service; choose one of {', '.join(SERVICES)}")
    settings = load(settings_class(service))
    found = asyncio.run(checks(service, settings, send_to=send_to))
    for one in found:
        print(json.dumps(one.as_json()) if output is Output.JSON else one)
    raise typer.Exit(exit_code(found))


def settings_class(service: str) -> type[ServiceSettings]:
    module = importlib.import_module(f"services.{service}.settings")
    found: type[ServiceSettings] = getattr(module, f"{service.title()}Settings")
    return found


async def checks(service: str, settings: ServiceSettings, *, send_to: str | None = None) -> list[Finding]:
    """All that there are for a service, one after the other, so that lines keep their order."""
    found = [
        *await check_keys(service, settings),
        *await check_database(service, settings),
        *await check_broker(service, settings.kafka),
        *await check_mail(service, settings, send_to=send_to),
    ]
    if isinstance(settings, ProvisionerSettings):
        found += await check_aws(settings)
    return found
