"""Clients generated from the API's document: they compile under strict rules and make the walk-through calls.

Their tools are not JIT's: `make clients` installs them aside. Part of `make test-more`.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, NoReturn

import pytest

from tests.support.pages import ROOT
from tests.support.running import Running
from tests.support.sampling import MORE
from tests.support.stack import data_folder, running_stack

HERE: Final = Path(__file__).parent
DOCUMENT: Final = ROOT / "docs/openapi/jit.json"
MODULES: Final = HERE / "typescript/node_modules"
PYTHON: Final = ROOT / ".venv-clients/bin"

pytestmark = [
    pytest.mark.more,
    pytest.mark.skipif(not MORE, reason="generated clients are tried by make test-more"),
]


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Running]:
    with data_folder() as data:
        async with running_stack(data) as made:
            yield made


async def run(*command: object, cwd: Path, **environment: str) -> str:
    """What the command prints; the stack goes on in this loop meanwhile."""
    process = await asyncio.create_subprocess_exec(
        *(str(part) for part in command),
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(300):
        printed, _ = await process.communicate()
    assert process.returncode == 0, f"{command}: {printed.decode()[-5000:]}"
    return printed.decode()


def leave_out(why: str) -> NoReturn:
    """A person may lack the tools; where CI=true is set nobody reads which tests were skipped."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def where(running: Running, account: str) -> dict[str, str]:
    """What a walk is told: the address, and what to ask for."""
    return {
        "JIT_URL": running.stack.url,
        "JIT_ACCOUNT": running.account_id(account),
        "JIT_SET": running.set_id("Administrator"),
    }


@pytest.mark.timeout(600)
async def test_a_typescript_client_compiles_and_walks(running: Running, tmp_path: Path) -> None:
    if shutil.which("node") is None or not MODULES.is_dir():
        leave_out("no Node, or its packages are not installed: make clients")
    for name in ("package.json", "tsconfig.json", "walk.ts"):
        shutil.copy(HERE / "typescript" / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(MODULES)
    tools = MODULES / ".bin"
    await run(tools / "openapi-typescript", DOCUMENT, "-o", "schema.ts", cwd=tmp_path)
    await run(tools / "tsc", "-p", ".", cwd=tmp_path)
    printed = await run("node", "built/walk.js", cwd=tmp_path, **where(running, "orders-prod"))
    assert printed.endswith("walked\n")


@pytest.mark.timeout(600)
async def test_a_python_client_type_checks_and_walks(running: Running, tmp_path: Path) -> None:
    if not (PYTHON / "openapi-python-client").exists():
        leave_out("no openapi-python-client: make clients")
    shutil.copy(HERE / "python/walk.py", tmp_path)
    await run(
        PYTHON / "openapi-python-client", "generate", "--path", DOCUMENT, "--meta", "none",
        "--output-path", "jit_client", cwd=tmp_path,
    )  # fmt: skip
    await run(PYTHON / "mypy", "--strict", "walk.py", "jit_client", cwd=tmp_path)
    printed = await run(PYTHON / "python", "walk.py", cwd=tmp_path, **where(running, "search-prod"))
    assert printed.endswith("walked\n")
