"""One OpenAPI document over all services, out of theirs: what one address in front of them offers."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

Json = dict[str, Any]

_OWN_ADDRESS: Final = "probes"
"""The tag of routes that every service has at its own address, and a common one has not."""


class Clash(ValueError):
    """Two services say different things under one name: rename one of them."""


def combine(documents: Mapping[str, Json]) -> Json:
    """The services' documents as one; each operation says its service (`x-service`, and by its tag)."""
    combined: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "JIT",
            "version": "1",
            "description": "Temporary access to AWS accounts through IAM Identity Center. Each operation is "
            "answered by the service in its `x-service`; errors are RFC 9457 problems with stable codes.",
        },
        "servers": [{"url": "/"}],
        "paths": {},
        "components": {},
        "tags": [],
    }
    for service, document in documents.items():
        paths = {path: item for path, item in document["paths"].items() if not _is_own(item)}
        _merge(combined["paths"], paths, f"paths of {service}")
        for kind, found in document["components"].items():
            _merge(combined["components"].setdefault(kind, {}), found, f"{kind} of {service}")
        combined["tags"] += [tag for tag in document["tags"] if tag["name"] != _OWN_ADDRESS]
    _check_ids(combined["paths"])
    _drop_unused(combined)
    return combined


def _is_own(item: Json) -> bool:
    return all(_OWN_ADDRESS in operation["tags"] for operation in item.values())


def _merge(into: Json, found: Json, what: str) -> None:
    for name, value in found.items():
        if into.setdefault(name, value) != value:
            raise Clash(f"{what}: {name} is something else in another service; give one of them another name")


def _drop_unused(document: Json) -> None:
    """What only the services' own routes spoke of, or none of them."""
    while unused := list(_unused(document)):
        for kind, name in unused:
            del document["components"][kind][name]


def _unused(document: Json) -> Iterator[tuple[str, str]]:
    text = json.dumps(document)
    for kind in ("schemas", "headers", "parameters"):
        for name in document["components"].get(kind, {}):
            if f'"#/components/{kind}/{name}"' not in text:
                yield kind, name


def _check_ids(paths: Mapping[str, Json]) -> None:
    seen: set[str] = set()
    for item in paths.values():
        for operation in item.values():
            if (name := operation["operationId"]) in seen:
                raise Clash(f"two operations are called {name}; give one of them another name")
            seen.add(name)
