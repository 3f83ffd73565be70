"""A real broker that denies what no ACL allows, with an account for the administrator and each service."""

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shared.database.migrate import SERVICES
from shared.foundation.settings import KafkaSettings
from tests.support.kafka_server import KafkaServer, KafkaServerUnavailable

PASSWORD = "s3cr3t-canary"


@contextmanager
def guarded_kafka() -> Iterator[KafkaServer]:
    """Skips the test where no broker can be had."""
    names = ("admin", *(f"jit-{service}" for service in SERVICES))
    try:
        server = KafkaServer(accounts=dict.fromkeys(names, PASSWORD))
    except KafkaServerUnavailable as error:
        pytest.skip(str(error))
    try:
        server.start()
        yield server
    finally:
        server.stop()
        with warnings.catch_warnings():
            # Of a client that the broker refuses, aiokafka now and then leaves a connection to the collector.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


def as_user(server: KafkaServer, name: str, *, password: str = PASSWORD) -> KafkaSettings:
    return KafkaSettings(
        bootstrap=(server.sasl_bootstrap,),
        security="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        username=name,
        password=password,
        session_timeout_ms=6000,
    )
