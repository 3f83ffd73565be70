"""The demo of docker-compose.yml as a project of its own on free ports, and its people as HTTP clients.

Opt-in: it builds images and takes minutes. `make compose-test` sets JIT_TEST_COMPOSE=1.
"""

import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from local.processes import free_ports
from tests.support.servers import container_engine_answers

ROOT = Path(__file__).parents[2]
BUILD_WITHIN_S = 900.0
UP_WITHIN_S = 300
DOWN_WITHIN_S = 120.0
_PORTS = ("DEMO", "SIMULATOR", "MAILBOX", "TICKET", "APPROVAL", "PROVISIONER", "NOTIFIER", "AUDIT")


class ComposeFailed(RuntimeError):
    """A compose command failed; says what it printed."""


@dataclass(frozen=True)
class ComposeDemo:
    """Where the demo answers. `ports` by the names in deploy/demo.env."""

    project: str
    ports: Mapping[str, int]

    def address(self, name: str = "DEMO") -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    @asynccontextmanager
    async def acting_as(self, user: str) -> AsyncIterator[httpx2.AsyncClient]:
        """A client of the API with a token of `user`."""
        async with httpx2.AsyncClient(base_url=self.address(), timeout=30) as client:
            answer = await client.post("/issuer/token", data={"user": user})
            answer.raise_for_status()
            client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            yield client

    def compose(self, *arguments: str, within_s: float) -> str:
        """One compose command on this project; its output. Raises ComposeFailed."""
        settings = {f"JIT_{name}_PORT": str(port) for name, port in self.ports.items()}
        environment = {**os.environ, **settings, "JIT_VERSION": "compose-test"}
        command = ["docker", "compose", "--project-name", self.project, "--env-file", "deploy/demo.env"]
        try:
            answer = subprocess.run(
                [*command, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors="replace", check=False, timeout=within_s,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise ComposeFailed(f"compose {arguments[0]} took longer than {within_s:.0f} s") from error
        if answer.returncode != 0:
            raise ComposeFailed(f"compose {' '.join(arguments)}:\n{answer.stdout[-4000:]}")
        return answer.stdout


def reason_to_skip() -> str | None:
    """Why the demo is not brought up here; None when it is."""
    if os.environ.get("JIT_TEST_COMPOSE") != "1":
        return "compose is opt-in: `make compose-test`, with a container engine"
    if not container_engine_answers():
        return "no container engine answers to `docker info`"
    return None


@contextmanager
def compose_demo() -> Iterator[ComposeDemo]:
    """Build, bring up until everything is healthy, and take down with volumes and network."""
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    demo = ComposeDemo(f"jit-test-{secrets.token_hex(4)}", ports)
    try:
        demo.compose("build", within_s=BUILD_WITHIN_S)
        try:
            demo.compose("up", "--wait", "--wait-timeout", str(UP_WITHIN_S), within_s=UP_WITHIN_S + 60.0)
        except ComposeFailed as error:
            said = demo.compose("logs", "--tail", "15", within_s=60)
            raise ComposeFailed(f"{error}\n{said[-12000:]}") from error
        yield demo
    finally:
        demo.compose("down", "--volumes", "--remove-orphans", "--timeout", "10", within_s=DOWN_WITHIN_S)
