"""Prometheus metrics of what all services share.

Each carries the service's name, since the embedded run keeps five services in one process.
"""

from prometheus_client import Counter, Gauge, Histogram

OUTBOX_SENT = Counter("jit_outbox_sent_total", "Rows the relay handed to Kafka", ["service"])
OUTBOX_UNSENT = Gauge("jit_outbox_unsent", "Rows waiting for the relay", ["service"])
OUTBOX_OLDEST = Gauge("jit_outbox_oldest_unsent_seconds", "Age of the oldest waiting row", ["service"])
RELAY_ACTIVE = Gauge("jit_relay_active", "1 where this process holds the relay's lock", ["service"])

CONSUMED = Counter("jit_consumed_total", "Events by outcome", ["service", "topic", "type", "outcome"])
HANDLING = Histogram(
    "jit_handling_seconds",
    "Time in an event's handler",
    ["service", "type"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)
BATCH_SIZE = Histogram(
    "jit_batch_records",
    "Records handled in one transaction",
    ["service"],
    buckets=(1, 2, 4, 8, 16, 32, 64),
)
BATCHES_BROKEN = Counter(
    "jit_batches_broken_total", "Batches that were taken one by one because a record failed", ["service"]
)
CONSUMER_LAG = Gauge("jit_consumer_lag", "Records between the position and the end", ["service", "topic"])

TABLES_READY = Gauge("jit_tables_ready", "1 while every marker verifies", ["service"])
TABLES_AGE = Gauge("jit_tables_marker_age_seconds", "Age of the oldest owner's marker", ["service"])

REQUESTS = Histogram(
    "jit_http_seconds",
    "HTTP requests",
    ["service", "route", "method", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
CONNECTIONS_REFUSED = Counter(
    "jit_http_connections_refused_total", "Connections beyond the most this process takes", ["service"]
)
ALERTS = Gauge("jit_alerts", "Operations alerts whose cause is still there", ["service"])
CLOCK_OFFSET = Gauge("jit_clock_offset_seconds", "Database clock minus this machine's", ["service"])
LOOP_LAG = Gauge("jit_event_loop_lag_seconds", "How late the event loop woke us last", ["service"])
