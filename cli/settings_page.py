"""docs/settings.md as it follows from the settings classes: every name, what it means and who reads it.

`make generate` writes the page and the list of names by which unknown ones are refused
(shared/foundation/environment.py); `make check` compares both.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, get_args

from pydantic import SecretStr, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from services.approval.settings import ApprovalSettings
from services.audit.settings import AuditSettings
from services.notifier.settings import NotifierSettings
from services.provisioner.settings import ProvisionerSettings
from services.ticket.settings import TicketSettings
from shared.database.migrate import MigrateSettings
from shared.foundation.settings import KafkaSettings, ServiceSettings, SmtpSettings

READERS: Final[Mapping[str, type[BaseSettings]]] = {
    "every service": ServiceSettings,
    "every service and `jit migrate`": KafkaSettings,
    "every service (mail, alerts)": SmtpSettings,
    "ticket": TicketSettings,
    "approval": ApprovalSettings,
    "provisioner": ProvisionerSettings,
    "notifier": NotifierSettings,
    "audit": AuditSettings,
    "`jit migrate`": MigrateSettings,
}
_KINDS: Final = {
    "string": "text",
    "integer": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "map",
}
GROUPS: Final = frozenset({"kafka", "smtp"})
"""Fields that are settings classes themselves."""

_HEAD: Final = """# Settings

Generated from the settings classes by `make generate`; do not edit.

Every setting is an environment variable, or a file of that name (in small letters) in the folder that
`JIT_SECRETS_DIR` names. Lists and maps are JSON. A duration is ISO 8601, such as `PT5M`. A process that
is given a wrong value, or a name that is not on this page, does not start: it says which, and leaves with
code 2.

`JIT_ENV` is `production` unless set. Production refuses what could not work or could not be trusted: no
issuer, no administrator, a public address that is not https, a broker in plain text, nobody's sender.
"""


@dataclass(frozen=True)
class Setting:
    """One line of the page."""

    name: str
    unit: str
    default: str
    meaning: str


def settings_page() -> str:
    """The whole page."""
    return _HEAD + "".join(_section(readers, cls) for readers, cls in READERS.items())


def names_file() -> str:
    """Every name, one a line, sorted."""
    names = {setting.name for cls in READERS.values() for setting in settings_of(cls)}
    return "".join(f"{name}\n" for name in sorted(names))


def settings_of(cls: type[BaseSettings]) -> Iterator[Setting]:
    """The settings a class adds to those of every service."""
    prefix = str(cls.model_config["env_prefix"])
    inherited = ServiceSettings.model_fields if cls is not ServiceSettings else {}
    for name, field in cls.model_fields.items():
        if name in GROUPS or (issubclass(cls, ServiceSettings) and name in inherited):
            continue
        meaning = " ".join((field.description or "").split())
        yield Setting(f"{prefix}{name}".upper(), _unit(name, field), _default(field), meaning)


def _section(readers: str, cls: type[BaseSettings]) -> str:
    rows = [
        f"| `{one.name}` | {one.unit} | {one.default} | {one.meaning} |\n".replace("||", "\\|\\|")
        for one in settings_of(cls)
    ]
    if not rows:
        return ""
    head = f"\n## Read by {readers}\n\n| Name | Kind | Default | Meaning |\n|---|---|---|---|\n"
    return head + "".join(rows)


def _unit(name: str, field: FieldInfo) -> str:
    """Seconds, milliseconds, a duration, one of several words, a list, a secret, or plainly a text."""
    kinds: list[Any] = [field.annotation, *get_args(field.annotation)]
    if SecretStr in kinds:
        return "secret"
    if timedelta in kinds:
        return "duration"
    if name.endswith("_ms"):
        return "milliseconds"
    if name.endswith("_s"):
        return "seconds"
    schema = TypeAdapter[Any](kinds[0]).json_schema()
    choices = [option for option in (schema, *schema.get("anyOf", ())) if option.get("type") != "null"]
    if "enum" in choices[-1]:
        return " or ".join(f"`{word}`" for word in choices[-1]["enum"])
    kind: str = choices[-1].get("type", "text")
    return _KINDS.get(kind, kind)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    value: Any = field.default
    if value is None or value is PydanticUndefined or value == SecretStr("") or value == "":
        return "none"
    if isinstance(value, timedelta):
        return f"`{TypeAdapter(timedelta).dump_python(value, mode='json')}`"
    if isinstance(value, str):
        return f"`{value}`"
    return f"`{json.dumps(value)}`"
