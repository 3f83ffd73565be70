import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLAIN_HTTP = '[{"issuer": "http://a.example", "audience": "jit", "claim": "sub", "lookup": "email"}]'


def jit(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=ROOT,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("service", ["ticket", "approval", "provisioner", "notifier", "audit"])
def test_serve_without_a_database_names_the_setting_and_exits_2(service: str) -> None:
    done = jit("serve", service)
    assert done.returncode == 2
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
    assert done.returncode == 2
    assert named in done.stderr
    assert "s3cr3t-canary" not in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_of_an_unknown_service_says_which_there_are() -> None:
    done = jit("serve", "portal")
    assert done.returncode == 2
    assert "ticket, approval" in done.stderr


def test_migrate_without_a_server_is_one_sentence_and_exits_2() -> None:
    done = jit("migrate", JIT_MIGRATE_ADMIN_URL="postgresql://nobody@127.0.0.1:1/postgres")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("jit migrate: ")
