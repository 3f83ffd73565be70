"""docs/events.md as it follows from the code: topics, owners, readers and every event with its fields.

A test compares the file with this; `make generate` writes it.
"""

import inspect
from collections.abc import Iterator

from shared.contracts.event import Event
from shared.contracts.registry import EVENTS
from shared.contracts.topics import TOPICS

_HEAD = """# Events

Generated from `shared/contracts/topics.py` and `shared/contracts/` by `make generate`; do not edit.

A message is a CloudEvents 1.0 record in Kafka's binary mode: headers `ce_id` (UUIDv7), `ce_type`,
`ce_subject` (the key), `ce_source` (the owner of the topic), `ce_time`, `traceparent`, and a JSON value.
Delivery is at least once: drop what you have seen by `ce_id`. Fields are only added, with a default.

The topic's owner has signed it: `jit_signature` is, in base64, an Ed25519 signature under the owner's key
`jit_keyid` (16 hexadecimal digits: the beginning of the SHA-256 of the raw public key). Signed is the
number of signed headers (4 bytes, big-endian), and then each of these with its length before it (4 bytes;
`ffffffff` where there is no value): the text `jit record 1`, the instance, the topic, the record's key,
name and value of each header `ce_*` and of `content-type` in the order of their names, and the record's
value.

## Topics

| Topic | Owner | Key | Partitions | Cleanup | Readers | Content |
|---|---|---|---|---|---|---|
"""


def events_page() -> str:
    """The whole page."""
    rows = [
        f"| `{topic.name}` | {topic.owner} | {topic.key} | {topic.partitions} | {topic.cleanup} "
        f"| {', '.join(topic.readers) or 'SIEMs outside'} | {topic.content} |"
        for topic in TOPICS.values()
    ]
    common = ", ".join(f"`{name}`" for name in Event.model_fields)
    sections = "\n".join(line for cls in _ordered() for line in _section(cls))
    intro = f"## Facts\n\nEvery fact has {common}. Below, what each has besides."
    return "\n".join([_HEAD + "\n".join(rows), "", intro, "", sections])


def _ordered() -> list[type[Event]]:
    return [EVENTS[name] for name in sorted(EVENTS)]


def _section(cls: type[Event]) -> Iterator[str]:
    yield f"### `{cls.TYPE}`"
    yield ""
    if cls.__doc__ and cls.__doc__ != Event.__doc__:
        yield inspect.cleandoc(cls.__doc__).partition("\n\n")[0].replace("\n", " ")
        yield ""
    own = {name: field for name, field in cls.model_fields.items() if name not in Event.model_fields}
    for name, field in own.items():
        needed = "" if field.is_required() else " (optional)"
        yield f"- `{name}`: {_type_name(field.annotation)}{needed}"
    yield ""


def _type_name(annotation: object) -> str:
    if isinstance(annotation, type):
        return annotation.__name__
    text = str(annotation).replace("typing.", "").replace("|", "or")
    for prefix in ("shared.contracts.", "datetime."):
        text = text.replace(prefix, "")
    return text
