import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PLAIN_HTTP = '[{"issuer": "http://a.example", "audience": "jit", "claim": "sub", "lookup": "email"}]'


def kept(environment: dict[str, str]) -> dict[str, str]:
    """What a command sees: nothing of ours but this."""
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | environment


def jit(*arguments: str, **environment: str) -> Result:
    """`jit` in this process: starting one takes two seconds."""
    with patch.dict(os.environ, kept(environment), clear=True):
        return CliRunner().invoke(app, list(arguments))


def test_command_in_a_process_of_its_own_exits_2_with_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "serve", "ticket"],
        cwd=ROOT,
        env=kept({}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "JIT_DATABASE_URL: Field required\n")


@pytest.mark.parametrize("service", ["ticket", "approval", "provisioner", "notifier", "audit"])
def test_serve_without_a_database_names_the_setting_and_exits_2(service: str) -> None:
    done = jit("serve", service)
    assert done.exit_code == 2
    assert done.stderr.strip() == "JIT_DATABASE_URL: Field required"


@pytest.mark.parametrize(
    ("service", "environment", "named"),
    [
        ("ticket", {"JIT_PORT": "many"}, "JIT_PORT"),
        ("ticket", {"JIT_MOST_GRANTS": "0"}, "JIT_MOST_GRANTS"),
        ("ticket", {"JIT_ISSUERS": PLAIN_HTTP}, "JIT_ISSUERS"),
        ("provisioner", {"JIT_AWS_ENDPOINT": "http://127.0.0.1:1"}, "JIT_AWS_ENDPOINT"),
        ("audit", {"JIT_ALERTS_AWS_ENDPOINT": "http://127.0.0.1:1"}, "JIT_ALERTS_AWS_ENDPOINT"),
    ],
)  # fmt: skip
def test_serve_with_a_wrong_setting_names_it_and_exits_2(
    service: str, environment: dict[str, str], named: str
) -> None:
    secret = "postgresql://app:s3cr3t-canary@127.0.0.1/jit"
    done = jit("serve", service, JIT_DATABASE_URL=secret, **environment)
    assert done.exit_code == 2
    assert named in done.stderr
    assert "s3cr3t-canary" not in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_of_an_unknown_service_says_which_there_are() -> None:
    done = jit("serve", "portal")
    assert done.exit_code == 2
    assert "ticket, approval" in done.stderr


def test_migrate_without_a_server_is_one_sentence_and_exits_2() -> None:
    done = jit("migrate", JIT_MIGRATE_ADMIN_URL="postgresql://nobody@127.0.0.1:1/postgres")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("jit migrate: ")
