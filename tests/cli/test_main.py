import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.main import app
from shared.messaging.key_folder import KeyFolder
from tests.support.signing import KEYS, key_settings

ROOT = Path(__file__).resolve().parents[2]
MISSING = "".join(
    f"{name}: Field required\n"
    for name in ("JIT_SIGNING_KEY_FILE", "JIT_PUBLIC_KEYS_DIR", "JIT_DATABASE_URL")
)
"""What a service says that is told nothing."""
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
    assert (done.returncode, done.stderr) == (2, MISSING)


@pytest.mark.parametrize("service", ["ticket", "approval", "provisioner", "notifier", "audit"])
def test_serve_without_a_database_names_the_setting_and_exits_2(service: str) -> None:
    done = jit("serve", service)
    assert done.exit_code == 2
    assert done.stderr == MISSING


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
    keys = {f"JIT_{name.upper()}": str(value) for name, value in key_settings(service).items()}
    done = jit("serve", service, JIT_DATABASE_URL=secret, **keys, **environment)
    assert done.exit_code == 2
    assert named in done.stderr
    assert "s3cr3t-canary" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("own", "named"),
    [
        ("nowhere.pem", "nowhere.pem cannot be read (No such file or directory); `jit keys new` makes a key"),
        ("stranger.pem", "nobody would believe what it signs"),
        ("junk.pem", "junk.pem holds no private key in PEM without a password"),
    ],
)
def test_serve_with_a_key_that_nobody_believes_says_why_and_exits_2(
    tmp_path: Path, own: str, named: str
) -> None:
    made = KeyFolder(tmp_path).make("ticket")
    made.rename(tmp_path / "stranger.pem")
    (tmp_path / "junk.pem").write_text("-----BEGIN NOTHING-----")
    done = jit(
        "serve",
        "ticket",
        JIT_ENV="development",
        JIT_DATABASE_URL="postgresql://127.0.0.1:1/none",
        JIT_SIGNING_KEY_FILE=str(tmp_path / own),
        JIT_PUBLIC_KEYS_DIR=str(KEYS.public),
    )
    assert done.exit_code == 2
    assert done.stderr.startswith("JIT_SIGNING_KEY_FILE, JIT_PUBLIC_KEYS_DIR: ")
    assert named in done.stderr
    assert done.stderr.count("\n") == 1


def test_serve_of_an_unknown_service_says_which_there_are() -> None:
    done = jit("serve", "portal")
    assert done.exit_code == 2
    assert "ticket, approval" in done.stderr


def test_migrate_without_a_server_is_one_sentence_and_exits_2() -> None:
    done = jit("migrate", JIT_MIGRATE_ADMIN_URL="postgresql://nobody@127.0.0.1:1/postgres")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("jit migrate: ")
