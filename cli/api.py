"""The API of all services as one OpenAPI document, as it follows from their routes; nothing is started."""

import importlib
import json
from pathlib import Path
from typing import Any, Final

from shared.foundation.environment import read
from shared.foundation.settings import ServiceSettings
from shared.http.combined import combine
from shared.runtime.service import Service

SERVICES: Final = ("ticket", "approval", "provisioner", "notifier", "audit")
"""In the order in which a request goes looking for its route."""


def api_document() -> dict[str, Any]:
    return combine({name: build(name).app.openapi() for name in SERVICES})


def api_text() -> str:
    """docs/openapi/jit.json."""
    return json.dumps(api_document(), indent=1, ensure_ascii=False) + "\n"


def build(name: str) -> Service:
    """The service as its __main__ makes it, over a database and keys that are never reached."""
    cls: type[ServiceSettings] = getattr(
        importlib.import_module(f"services.{name}.settings"), f"{name.title()}Settings"
    )
    nowhere = Path("nowhere")
    settings = read(
        cls,
        env="development",
        database_url="postgresql://nobody@127.0.0.1:1/none",
        signing_key_file=nowhere,
        public_keys_dir=nowhere,
    )
    service: Service = importlib.import_module(f"services.{name}.__main__").build(settings)
    return service
