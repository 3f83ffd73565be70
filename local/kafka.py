"""The embedded broker: librdkafka's mock Kafka cluster, out of the confluent-kafka wheel, driven by ctypes.

It starts in 20 ms and forgets everything on stop. What it cannot do (measured on confluent-kafka 2.16.1):
- more than one member in a consumer group; tests that need several call `delayed_group_leader`
- a quick rejoin: who joins a group that was left waits for `session_timeout_ms` less a second
- transactions, compaction, ACLs, admin requests (topics are made here, `create_topics`)
- keep more than 5 MB per partition; older messages vanish silently
- wake a waiting fetch: latency is up to the consumer's `fetch_max_wait_ms`, 20 to 50 ms is right
It proves nothing about Kafka; the tests marked `messaging` run on a real one too.
"""

import asyncio
import ctypes
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance

from local.errors import CannotStart

_PRODUCER = 0
_TOPIC_ALREADY_EXISTS = 36
_HARMLESS = frozenset({0, _TOPIC_ALREADY_EXISTS})
_COMPOSE = "Run against a real Kafka broker instead: see docker-compose.yml."


class KafkaUnavailable(CannotStart):
    """No embedded broker on this machine, or it refused; the sentence says why and what to do."""


class MockKafka:
    """A cluster of mock brokers on loopback. Its threads are librdkafka's own; calls return at once."""

    def __init__(self, brokers: int = 1) -> None:
        self.brokers = range(1, brokers + 1)
        self._library = _library()
        self._handle: int | None = None
        self._cluster: int | None = None

    @property
    def bootstrap(self) -> str:
        """`host:port` of every broker, separated by commas."""
        address: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._running())
        return address.decode()

    def start(self) -> None:
        if self._cluster is not None:
            return
        problem = ctypes.create_string_buffer(512)
        configuration = self._library.rd_kafka_conf_new()
        # Emergencies only: the cluster logs every client that closes a connection.
        self._library.rd_kafka_conf_set(configuration, b"log_level", b"0", problem, len(problem))
        self._handle = self._library.rd_kafka_new(_PRODUCER, configuration, problem, len(problem))
        if not self._handle:
            raise KafkaUnavailable(f"librdkafka does not start: {problem.value.decode()}. {_COMPOSE}")
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._handle, len(self.brokers))
        if not self._cluster:
            raise KafkaUnavailable(f"librdkafka makes no mock cluster. {_COMPOSE}")
        # Three seconds by default, for members that cannot join anyway.
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)

    def stop(self) -> None:
        """Close all connections and forget all messages."""
        if self._cluster is not None:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._cluster = None
        if self._handle is not None:
            self._library.rd_kafka_destroy(self._handle)
            self._handle = None

    def create_topics(self, topics: Mapping[str, int]) -> None:
        """Make each topic with its number of partitions; one that exists stays as it is."""
        for topic, partitions in topics.items():
            code = self._library.rd_kafka_mock_topic_create(self._running(), topic.encode(), partitions, 1)
            if code not in _HARMLESS:
                raise KafkaUnavailable(f"The mock cluster refused topic {topic} with error {code}.")

    def set_down(self) -> None:
        """An outage of the whole cluster: connections are cut and refused until `set_up`."""
        for broker in self.brokers:
            self._library.rd_kafka_mock_broker_set_down(self._running(), broker)

    def set_up(self) -> None:
        for broker in self.brokers:
            self._library.rd_kafka_mock_broker_set_up(self._running(), broker)

    def push_request_errors(self, api_key: int, codes: Sequence[int]) -> None:
        """Answer the next requests (0 = Produce, 1 = Fetch) with these Kafka error codes in turn."""
        errors = (ctypes.c_int * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(self._running(), api_key, len(codes), errors)

    def _running(self) -> int:
        if self._cluster is None:
            raise KafkaUnavailable("The mock cluster is not running; start it first.")
        return self._cluster


@contextmanager
def mock_kafka(topics: Mapping[str, int], *, brokers: int = 1) -> Iterator[MockKafka]:
    """A running cluster with these topics and partitions for as long as the block runs."""
    cluster = MockKafka(brokers)
    cluster.start()
    try:
        cluster.create_topics(topics)
        yield cluster
    finally:
        cluster.stop()


@contextmanager
def delayed_group_leader(seconds: float = 0.05) -> Iterator[None]:
    """Let groups of several aiokafka members in this process work on the mock cluster. Tests only.

    The cluster answers INVALID_REQUEST to followers that sync after the leader, so the leader waits for them.
    `session_timeout_ms` of 2000 lets a group settle in a second; with 1000 it may not settle at all.
    """
    original = CoordinatorGroupRebalance._on_join_leader

    async def patient(rebalance: Any, response: Any) -> Any:
        await asyncio.sleep(seconds)
        return await original(rebalance, response)

    CoordinatorGroupRebalance._on_join_leader = patient
    try:
        yield
    finally:
        CoordinatorGroupRebalance._on_join_leader = original


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(_library_path()))
    pointer, text, number, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.c_size_t
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (ctypes.c_int, [pointer, text, text, text, size]),
        "rd_kafka_new": (pointer, [ctypes.c_int, pointer, text, size]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, ctypes.c_int]),
        "rd_kafka_mock_cluster_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, number]),
        "rd_kafka_mock_topic_create": (ctypes.c_int, [pointer, text, ctypes.c_int, ctypes.c_int]),
        "rd_kafka_mock_broker_set_down": (ctypes.c_int, [pointer, number]),
        "rd_kafka_mock_broker_set_up": (ctypes.c_int, [pointer, number]),
        "rd_kafka_mock_push_request_errors_array": (None, [pointer, ctypes.c_int16, size, pointer]),
    }
    for name, (result, arguments) in signatures.items():
        if not hasattr(library, name):
            raise KafkaUnavailable(
                f"This librdkafka lacks {name}; install confluent-kafka 2.16.1. {_COMPOSE}"
            )
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _library_path() -> Path:
    """The librdkafka that the wheel brings: in `.libs` beside the package, or `.dylibs` inside on macOS."""
    found = importlib.util.find_spec("confluent_kafka")
    if found is None or found.origin is None:
        raise KafkaUnavailable(
            f"The wheel confluent-kafka is not installed or has no build for this platform. {_COMPOSE}"
        )
    package = Path(found.origin).parent
    libraries = sorted(package.parent.glob("confluent_kafka.libs/librdkafka*"))
    libraries += sorted(package.glob(".dylibs/librdkafka*"))
    if not libraries:
        raise KafkaUnavailable(
            f"confluent-kafka was built against the system's librdkafka; install its wheel. {_COMPOSE}"
        )
    return libraries[0]
