"""Doing in a test what a service does around a command: a unit of work, an event that is delivered.

`deliver` goes through the service's own consumer, so that inbox, commit, alerts and hooks are the real ones.
"""

from aiokafka import ConsumerRecord

from shared.contracts import topics
from shared.contracts.event import Actor, Event
from shared.foundation.clock import new_id
from shared.http.access import Caller
from shared.identity.bindings import Principal
from shared.messaging.envelope import headers_for
from shared.messaging.subscription import Outcome
from shared.runtime.service import Service
from tests.support.organisation import user_id
from tests.support.signing import signed


def caller(service: Service, name: str) -> Caller:
    """Somebody of the small organisation, for a command that has no route."""
    user = service.context.policy.known().user(user_id(name))
    assert user is not None
    actor = Actor(kind="person", name=name, user_id=user.id)
    return Caller(Principal(user, actor), key=None, cause="request")


async def deliver(service: Service, event: Event, *, event_id: str | None = None) -> Outcome:
    """Hand an event to the consumer that reads it, as its owner sent it; raises what the command raises."""
    consumer = service.consumer
    topic = next(topic for topic in consumer.topics if topics.TOPICS[topic].takes(event.TYPE))
    return await consumer.replay(record_of(topic, event, event_id=event_id))


def record_of(topic: str, event: Event, *, event_id: str | None = None) -> ConsumerRecord:
    """The record that the topic's owner would have sent."""
    headers = headers_for(
        event_id=event_id or new_id(),
        type_name=event.TYPE,
        subject=event.subject,
        source=topics.TOPICS[topic].owner,
        time=event.at,
    )
    value = event.model_dump_json().encode()
    record = ConsumerRecord(
        topic=topic,
        partition=0,
        offset=0,
        timestamp=0,
        timestamp_type=0,
        key=event.subject.encode(),
        value=value,
        checksum=None,
        serialized_key_size=len(event.subject),
        serialized_value_size=len(value),
        headers=tuple((name, text.encode()) for name, text in headers.items()),
    )
    return signed(record)
