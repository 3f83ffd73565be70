"""The broker: reached, with the topics of the table, and letting the service do what the table says alone."""

from collections.abc import Iterator

from aiokafka.errors import KafkaError

from cli.doctor.findings import Finding, fail, ok, warn
from shared.contracts.topics import TOPICS, Topic
from shared.foundation.settings import KafkaSettings
from shared.messaging.acls import Operation
from shared.messaging.permitted import Permitted, TopicSeen, permitted


async def check_broker(service: str, settings: KafkaSettings) -> list[Finding]:
    try:
        found = await permitted(settings, service)
    except (KafkaError, OSError, NotImplementedError) as error:
        return [
            fail(
                "broker.reached", f"{', '.join(settings.bootstrap)}: {type(error).__name__}",
                "look at JIT_KAFKA_*, the broker and the network between",
            )
        ]  # fmt: skip
    return [
        ok("broker.reached", ", ".join(settings.bootstrap)),
        *_topics(service, found),
        *_rights(service, found),
    ]


def wanted(service: str, topic: Topic) -> frozenset[Operation]:
    """What the table of topics lets a service do."""
    writes = {Operation.WRITE} if topic.owner == service else set()
    reads = {Operation.READ} if service in topic.readers else set()
    return frozenset(writes | reads)


def _topics(service: str, found: Permitted) -> Iterator[Finding]:
    """Those that the service has to do with; the broker need not show it others."""
    ours = [topic for topic in TOPICS.values() if wanted(service, topic)]
    wrong = [problem for topic in ours if (problem := _wrong(topic, found.topics.get(topic.name)))]
    for problem in wrong:
        yield fail(
            "broker.topics", problem, "run `jit migrate`; more partitions than are there are yours to make"
        )
    if not wrong:
        yield ok("broker.topics", f"all {len(ours)} are there, with their partitions and leaders")


def _wrong(topic: Topic, seen: TopicSeen | None) -> str | None:
    if seen is None or not seen.there:
        hidden = seen is not None and seen.allowed is not None
        return f"{topic.name} {'may not be seen' if hidden else 'is not there'}"
    if seen.partitions != topic.partitions:
        return f"{topic.name} has {seen.partitions} partitions, and {topic.partitions} are wanted"
    if seen.without_leader:
        return f"{seen.without_leader} partitions of {topic.name} have no leader"
    return None


def _rights(service: str, found: Permitted) -> Iterator[Finding]:
    told = {name: seen.allowed for name, seen in found.topics.items() if seen.allowed is not None}
    if not told or found.group is None:
        yield warn("broker.rights", "the broker does not tell what it allows", "look at its ACLs by hand")
        return
    lacking = [
        f"{operation.name} {name}"
        for name, allowed in told.items()
        for operation in sorted(wanted(service, TOPICS[name]) - allowed)
    ]
    if Operation.READ not in found.group:
        lacking.append(f"READ of the group {service}")
    more = [
        f"{operation.name} {name}"
        for name, allowed in told.items()
        for operation in sorted(allowed - wanted(service, TOPICS[name]))
    ]
    if lacking:
        yield fail("broker.rights", f"lacks {', '.join(lacking)}", "run `jit migrate --acls`")
    if more:
        yield warn(
            "broker.rights", f"may also {', '.join(more)}",
            "give it only what `jit migrate --acls` allows, and set allow.everyone.if.no.acl.found=false",
        )  # fmt: skip
    if not lacking and not more:
        yield ok("broker.rights", "may do what the table of topics says, and nothing more")
