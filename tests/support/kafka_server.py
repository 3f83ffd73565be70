"""A real Apache Kafka broker (KRaft, one node) for tests and benches, from its Maven artifacts.

Fetched once into a cache by Maven; afterwards only Java is needed. Everything about consumers, rebalances and
lost brokers is proven on this one; local/kafka.py is quicker and proves less.
"""

import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from local.processes import free_ports, last_lines, spawn, wait_until

KAFKA_VERSION = "4.3.1"
_CLUSTER_ID = "b3ZlcnR1cm5lZC1zdG9uZQ"  # any 16 bytes in base64
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""
_JVM = (
    "-Xms128m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
_PLAIN_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_PATIENCE = 60.0  # seconds; two to four are usual


class KafkaServerUnavailable(RuntimeError):
    """No real broker on this machine; the sentence says what is missing."""


class KafkaServer:
    """One broker on its own folder and ports. `kill` and `start` keep messages, topics and the address."""

    def __init__(self, folder: Path | None = None, *, accounts: Mapping[str, str] | None = None) -> None:
        """`accounts` are names with passwords: who comes by them may do what ACLs allow, by `sasl_bootstrap`.

        `admin` among them, and whoever comes without a name, may do everything.
        """
        self._libraries = kafka_libraries()
        self._temporary = folder is None
        self._folder = folder or Path(tempfile.mkdtemp(prefix="jit-kafka-"))
        self._port, self._controller_port, self._sasl_port = free_ports(3)
        self._accounts = dict(accounts or {})
        self._log = self._folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def sasl_bootstrap(self) -> str:
        """Where one has to sign in, by SASL PLAIN without TLS."""
        return f"127.0.0.1:{self._sasl_port}"

    @property
    def process_id(self) -> int:
        """Of the broker that runs now."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Return when the broker answers a metadata request with itself; two to four seconds."""
        if self._process is not None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._folder / "server.properties"
        settings.write_text(self._settings())
        if not (self._folder / "data").exists():
            self._format(settings)
        command = [*_java(), *_JVM, "-cp", f"{self._libraries}/*", "kafka.Kafka", str(settings)]
        # SIGKILL when orphaned: nobody is left to want what a clean stop would save.
        self._process = process = spawn(
            command,
            log=self._log,
            cwd=self._folder,
            environment=os.environ,
            when_orphaned=signal.SIGKILL,
        )
        wait_until(
            lambda: process.poll() is not None or _brokers(self._port) > 0, seconds=_PATIENCE, every=0.05
        )
        if process.poll() is not None or _brokers(self._port) == 0:
            self.kill()
            raise KafkaServerUnavailable(f"Kafka does not start:\n{last_lines(self._log)}")

    def stop(self) -> None:
        """End the broker cleanly and remove its folder unless the caller named it."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._temporary:
            shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """Kill -9. The messages stay, as after a crash of the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill -9 and start again under the same address."""
        self.kill()
        self.start()

    def _format(self, settings: Path) -> None:
        tool = [*_java(), "-cp", f"{self._libraries}/*", "kafka.tools.StorageTool", "format"]
        answer = subprocess.run(
            [*tool, "-t", _CLUSTER_ID, "-c", str(settings)], capture_output=True, text=True, check=False
        )
        if answer.returncode != 0:
            raise KafkaServerUnavailable(f"Kafka's storage tool failed:\n{answer.stdout}{answer.stderr}")

    def _settings(self) -> str:
        return f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{self._controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{self._controller_port}
advertised.listeners=PLAINTEXT://{self.bootstrap}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={self._folder / "data"}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# By default a broker that comes back after kill -9 waits nine seconds for its former self to time out.
broker.heartbeat.interval.ms=200
broker.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=4194304
log.index.size.max.bytes=1048576
{self._sasl_settings()}"""

    def _sasl_settings(self) -> str:
        """A third listener, and an authorizer; these lines take the place of those above."""
        if not self._accounts:
            return ""
        users = " ".join(f'user_{name}="{password}"' for name, password in self._accounts.items())
        plain = f"SASL://{self.sasl_bootstrap}"
        return f"""\
listeners=PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{self._controller_port},{plain}
advertised.listeners=PLAINTEXT://{self.bootstrap},{plain}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config={_PLAIN_LOGIN} required {users};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:ANONYMOUS
"""


@contextmanager
def real_kafka() -> Iterator[KafkaServer]:
    """A running broker of one's own for as long as the block runs; nothing is left of it."""
    server = KafkaServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


def kafka_libraries() -> Path:
    """The folder with Kafka's jars: JIT_KAFKA_LIBS, else the cache, filled by Maven when it is empty."""
    if named := os.environ.get("JIT_KAFKA_LIBS"):
        if not any(Path(named).glob("kafka_2.13-*.jar")):
            raise KafkaServerUnavailable(f"JIT_KAFKA_LIBS names {named}, where there is no kafka_2.13 jar.")
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jit-kafka"
    libraries = cache / KAFKA_VERSION
    if not libraries.exists():
        _fetch(libraries)
    return libraries


def _fetch(libraries: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaServerUnavailable(
            "A real Kafka needs Maven once, to fetch it, or JIT_KAFKA_LIBS naming a folder with its jars."
        )
    _java()
    libraries.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=libraries.parent))
    (staging / "pom.xml").write_text(_POM)
    command = [maven, "-q", "-B", "-f", str(staging / "pom.xml"), _PLUGIN, "-DincludeScope=runtime"]
    command += [f"-DoutputDirectory={staging / 'libs'}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        shutil.rmtree(staging)
        raise KafkaServerUnavailable(f"Maven could not fetch Kafka:\n{answer.stdout[-2000:]}")
    if not libraries.exists():  # another run may have been quicker
        (staging / "libs").rename(libraries)
    shutil.rmtree(staging)


def _java() -> list[str]:
    java = shutil.which("java")
    if java is None:
        raise KafkaServerUnavailable("A real Kafka needs Java 17 or newer on the PATH.")
    return [java]


def _brokers(port: int) -> int:
    """How many brokers a metadata reply (Kafka protocol, Metadata v7, no topics) lists; 0 without a reply.

    An open port is not enough: the broker listens before it is registered.
    """
    header = struct.pack(">hhih", 3, 7, 1, -1)  # Metadata, version 7, correlation 1, no client id
    request = header + struct.pack(">i?", 0, False)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.settimeout(5)
            connection.sendall(struct.pack(">i", len(request)) + request)
            reply = connection.makefile("rb").read(4 + 4 + 4 + 4)
    except OSError:
        return 0
    if len(reply) < 16:
        return 0
    _size, _correlation, _throttled, brokers = struct.unpack(">iiii", reply)
    return int(brokers)
