"""Read JIT's audit events from Kafka and check them. A starting point for a reader of your own.

It needs aiokafka, and jsonschema-rs where a folder of compiled OCSF schemas is given, and nothing of JIT:

    python consumer.py --bootstrap 127.0.0.1:9092 --schemas ./ocsf --timeout 10

It reads the whole topic, drops repetitions by metadata.uid, prints one line per event, and ends with
status 1 at the first event that is not valid, or when a sequence number is missing.
"""

import argparse
import asyncio
import importlib
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

GAP_AFTER_S = 60.0
"""Numbers arrive a little out of order, since partitions do. One that stays away so long is missing."""

BASE_FIELDS = {
    "category_uid": int,
    "class_uid": int,
    "activity_id": int,
    "type_uid": int,
    "severity_id": int,
    "time": int,
    "metadata": dict,
    "cloud": dict,
}
METADATA_FIELDS = {"version": str, "product": dict, "uid": str, "event_code": str, "sequence": int}


class Invalid(Exception):
    """An event that JIT must not have sent."""


class Schemas:
    """The compiled schemas of a folder, by class; without a folder only base fields are checked."""

    def __init__(self, folder: Path | None) -> None:
        self._validators: dict[int, Any] = {}
        if folder is None:
            return
        try:
            jsonschema_rs: Any = importlib.import_module("jsonschema_rs")
        except ImportError as error:
            raise SystemExit("--schemas needs the package jsonschema-rs") from error
        for file in sorted(folder.glob("*.json")):
            schema = json.loads(file.read_text(encoding="utf-8"))
            (class_uid,) = schema["properties"]["class_uid"]["enum"]
            self._validators[class_uid] = jsonschema_rs.Draft202012Validator(schema)
        if not self._validators:
            raise SystemExit(f"there is no schema in {folder}")

    def check(self, event: Mapping[str, Any]) -> None:
        """Raises Invalid with the first fault found."""
        _check_fields(event, BASE_FIELDS, "")
        _check_fields(event["metadata"], METADATA_FIELDS, "metadata.")
        if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
            raise Invalid("type_uid does not follow from class_uid and activity_id")
        if not self._validators:
            return
        validator = self._validators.get(event["class_uid"])
        if validator is None:
            raise Invalid(f"there is no schema for class {event['class_uid']}")
        for error in validator.iter_errors(event):
            raise Invalid(f"{'/'.join(str(part) for part in error.instance_path)}: {error.message}")


def _check_fields(part: Mapping[str, Any], wanted: Mapping[str, type], prefix: str) -> None:
    for name, kind in wanted.items():
        if not isinstance(part.get(name), kind):
            raise Invalid(f"{prefix}{name} is missing or not of type {kind.__name__}")


class Sequence:
    """Which numbers were seen. The log has no gaps, so one that stays missing is a defect.

    It counts from the lowest number that the topic still holds: older ones may be past its retention.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._lowest: int | None = None
        self._upto = 0
        self._stuck_since = 0.0

    def add(self, number: int, *, now: float) -> None:
        self._seen.add(number)
        if self._lowest is None or number < self._lowest:
            self._lowest, self._upto = number, number - 1
        grown = False
        while self._upto + 1 in self._seen:
            self._upto += 1
            grown = True
        if grown or not self.missing():
            self._stuck_since = now

    def missing(self) -> int | None:
        """The first number that is missing between those that were seen."""
        return self._upto + 1 if self._seen and self._upto < max(self._seen) else None

    def overdue(self, *, now: float) -> int | None:
        """The missing number, once it has been so for too long."""
        missing = self.missing()
        return missing if missing is not None and now - self._stuck_since > GAP_AFTER_S else None


async def batches(
    consumer: AIOKafkaConsumer, *, timeout_s: float | None
) -> AsyncIterator[list[ConsumerRecord[bytes, bytes]]]:
    """What there is, an empty list while nothing comes; ends after `timeout_s` quiet seconds, or never."""
    quiet_since = time.monotonic()
    while timeout_s is None or time.monotonic() - quiet_since < timeout_s:
        found = await consumer.getmany(timeout_ms=200)
        if found:
            quiet_since = time.monotonic()
        yield [record for batch in found.values() for record in batch]


async def at_end(consumer: AIOKafkaConsumer) -> bool:
    """Whether nothing is left to read."""
    partitions: list[TopicPartition] = list(consumer.assignment())
    ends = await consumer.end_offsets(partitions)
    positions = {partition: await consumer.position(partition) for partition in partitions}
    return all(positions[partition] >= ends[partition] for partition in partitions)


def read(record: ConsumerRecord[bytes, bytes], schemas: Schemas) -> dict[str, Any]:
    """The record's value as a checked event."""
    try:
        event = json.loads(record.value or b"")
    except ValueError as error:
        raise Invalid("the value is not JSON") from error
    if not isinstance(event, dict):
        raise Invalid("the value is not a JSON object")
    schemas.check(event)
    return event


class Check:
    """What was read so far, and whether it was as promised."""

    def __init__(self, schemas: Schemas) -> None:
        self.sequence = Sequence()
        self.known: set[str] = set()
        self._schemas = schemas

    def take(self, record: ConsumerRecord[bytes, bytes]) -> None:
        """Check one record and print it, unless it was delivered before. Raises Invalid."""
        event = read(record, self._schemas)
        metadata = event["metadata"]
        if metadata["uid"] in self.known:
            return
        self.known.add(metadata["uid"])
        self.sequence.add(metadata["sequence"], now=time.monotonic())
        print(_line(event), flush=True)


async def follow(consumer: AIOKafkaConsumer, options: argparse.Namespace, schemas: Schemas) -> int:
    """Read and check; the exit status."""
    check = Check(schemas)
    async for batch in batches(consumer, timeout_s=options.timeout):
        for place, record in enumerate(batch, start=1):
            try:
                check.take(record)
            except Invalid as error:
                where = f"partition {record.partition} offset {record.offset}"
                print(f"INVALID {where}: {error}", file=sys.stderr)
                return 1
            if options.max and len(check.known) >= options.max:
                return await _conclude(consumer, check, everything_read=place == len(batch))
        if overdue := check.sequence.overdue(now=time.monotonic()):
            return _report_gap(overdue)
    return await _conclude(consumer, check, everything_read=True)


async def _conclude(consumer: AIOKafkaConsumer, check: Check, *, everything_read: bool) -> int:
    """A number between those seen is missing only if nothing is left that could bring it."""
    missing = check.sequence.missing()
    if missing is not None and everything_read and await at_end(consumer):
        return _report_gap(missing)
    print(f"{len(check.known)} events, all valid", file=sys.stderr)
    return 0


def _report_gap(missing: int) -> int:
    print(f"GAP: sequence {missing} is missing", file=sys.stderr)
    return 1


def _line(event: Mapping[str, Any]) -> str:
    metadata = event["metadata"]
    actor = event.get("actor", {})
    who = actor.get("user", {}).get("name") or actor.get("app_name", "-")
    return (
        f"{metadata['sequence']:>8} {event['time']} {metadata['event_code']:<26} "
        f"{metadata.get('correlation_uid', '-')} {who} {event.get('status', '-')}"
    )


async def main(options: argparse.Namespace) -> int:
    schemas = Schemas(options.schemas)
    consumer = AIOKafkaConsumer(
        options.topic,
        bootstrap_servers=options.bootstrap,
        group_id=None,  # every run reads everything; give it a group and commit after storing to go on
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        return await follow(consumer, options, schemas)
    finally:
        await consumer.stop()


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Read and check JIT's audit events.")
    parser.add_argument("--bootstrap", default="127.0.0.1:9092", help="host:port of the broker")
    parser.add_argument("--topic", default="jit.audit.ocsf.v1")
    parser.add_argument("--schemas", type=Path, help="folder of compiled OCSF schemas; base fields otherwise")
    parser.add_argument("--max", type=int, default=0, metavar="N", help="stop after N events")
    parser.add_argument("--timeout", type=float, metavar="S", help="stop when nothing came for S seconds")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse())))
