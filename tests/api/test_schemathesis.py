"""The API against its own document: whatever is sent, answers are documented, typed and never a bug.

`make test` takes a small sample; `make test-more` (JIT_TEST_MORE=1) every role, all phases, many examples.
"""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import uvicorn

from cli.api import SERVICES
from local.issuer import DevelopmentIssuer
from local.processes import free_ports
from tests.architecture.route_roles import EVERYBODY
from tests.architecture.test_routes import build
from tests.support.harness import NOW, service_database, with_pool
from tests.support.http import trusted
from tests.support.sampling import MORE

pytestmark = pytest.mark.more
PEOPLE: Final = sorted(EVERYBODY) if MORE else ["root"]
PHASES: Final = "examples,coverage,fuzzing,stateful" if MORE else "examples,fuzzing"
EXAMPLES: Final = 25 if MORE else 1
CONFIG: Final = """
[checks]
# 503 is documented: not ready, try again.
not_a_server_error.expected-statuses = ["2xx", "4xx", "503"]
# A schema cannot say all rules: whether an account is registered, whether a cursor is one.
positive_data_acceptance.enabled = false
# Wants 400 for a missing If-Match, which is 428.
missing_required_header.enabled = false
[parameters]
# Waited for, for two seconds: only what is there already.
"header.Jit-Min-Revision" = "catalog=0"
[[operations]]
# A preview and a plan answer 200 and name what is wrong: that is what they are for.
include-path-regex = "(/v1/tickets/preview|/plan)$"
checks.negative_data_rejection.enabled = false
"""


@pytest.fixture(scope="module", params=SERVICES)
def address(request: pytest.FixtureRequest, admin_dsn: str, issuer: DevelopmentIssuer) -> Iterator[str]:
    """One service over its own database, served on loopback from a thread of its own."""
    with served(request.param, admin_dsn, issuer) as found:
        yield found


@contextmanager
def served(name: str, admin_dsn: str, issuer: DevelopmentIssuer) -> Iterator[str]:
    (port,) = free_ports(1)
    started, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        async with (
            service_database(admin_dsn, name) as dsn,
            with_pool(build(name, dsn, (trusted(issuer),))) as it,
        ):
            server = uvicorn.Server(uvicorn.Config(it.app, port=port, log_config=None, lifespan="off"))
            serving = asyncio.create_task(server.serve())
            while not server.started:  # noqa: ASYNC110 (uvicorn says it by a flag only)
                await asyncio.sleep(0.01)
            started.set()
            await asyncio.to_thread(stop.wait)
            server.should_exit = True
            await serving

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(60)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop.set()
        thread.join(30)


@pytest.mark.timeout(1500 if MORE else 120)
@pytest.mark.parametrize("user", PEOPLE)
def test_answers_are_as_documented(
    address: str, issuer: DevelopmentIssuer, user: str, tmp_path: Path
) -> None:
    token = issuer.mint(user, exp=int(NOW.timestamp()) + 7 * 24 * 3600)
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    found = subprocess.run(
        [
            *(Path(sys.executable).parent / "schemathesis", "run", f"{address}/openapi.json"),
            *("--header", f"Authorization: Bearer {token}", "--phases", PHASES),
            *("--max-examples", str(EXAMPLES), "--seed", "1", "--no-shrink", "--continue-on-failure"),
            *("--no-color", "--warnings", "off", "--generation-database", "none"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr[-2000:]
