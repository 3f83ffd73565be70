"""What `jit doctor` says of a real broker that denies what no ACL allows, and of one that allows too much."""

from collections.abc import Iterator

import pytest

from cli.doctor.broker import check_broker
from cli.doctor.findings import Grade
from shared.contracts import topics
from shared.database.migrate import SERVICES
from shared.messaging import kafka
from shared.messaging.acls import Acl, Operation, Resource, acls_of, write_acls
from tests.support.guarded_kafka import PASSWORD, as_user, guarded_kafka
from tests.support.kafka_server import KafkaServer

pytestmark = pytest.mark.messaging


@pytest.fixture(scope="module")
def server() -> Iterator[KafkaServer]:
    with guarded_kafka() as server:
        yield server


async def told(server: KafkaServer, service: str) -> list[tuple[str, str, str]]:
    found = await check_broker(service, as_user(server, f"jit-{service}"))
    return [(one.grade.value, one.check, one.found) for one in found[1:]]


async def test_rights_of_a_service_are_those_of_the_table_and_every_other_is_told(
    server: KafkaServer,
) -> None:
    """In the order in which an installation is made."""
    admin = as_user(server, "admin")
    assert [line[:2] for line in await told(server, "ticket")][-1] == ("fail", "broker.rights")
    await kafka.create_topics(admin, replication=1)
    unseen = await told(server, "ticket")
    assert ("fail", "broker.topics", f"{topics.TICKET} may not be seen") in unseen
    await write_acls(admin, [acl for name in SERVICES for acl in acls_of(name, f"User:jit-{name}")])
    for service in SERVICES:
        assert [line[:2] for line in await told(server, service)] == [
            ("ok", "broker.topics"),
            ("ok", "broker.rights"),
        ]
    more = Acl("User:jit-notifier", Operation.WRITE, Resource.TOPIC, topics.STOP)
    await write_acls(admin, [more])
    assert (await told(server, "notifier"))[1:] == [
        ("warn", "broker.rights", f"may also WRITE {topics.STOP}")
    ]


async def test_broker_that_refuses_the_password_fails_without_it(server: KafkaServer) -> None:
    [found] = await check_broker("ticket", as_user(server, "jit-ticket", password=f"not {PASSWORD}"))
    assert (found.grade, found.check) == (Grade.FAIL, "broker.reached")
    assert "canary" not in str(found)
