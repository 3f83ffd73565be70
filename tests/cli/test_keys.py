"""`jit keys`: what an operator does with keys, and what is refused with one sentence and exit code 2."""

from pathlib import Path

import pytest

from shared.messaging.key_folder import KeyFolder
from tests.cli.test_main import jit

FOLDER = "--folder"


def listed(folder: Path) -> list[list[str]]:
    done = jit("keys", "list", FOLDER, str(folder))
    assert done.exit_code == 0
    return [line.split() for line in done.stdout.splitlines()]


def test_new_missing_makes_a_key_for_each_service_once(tmp_path: Path) -> None:
    first = jit("keys", "new", "--missing", FOLDER, str(tmp_path))
    assert first.exit_code == 0
    assert len(first.stdout.splitlines()) == 5
    again = jit("keys", "new", "--missing", FOLDER, str(tmp_path))
    assert (again.exit_code, again.stdout) == (0, "")
    assert [(service, use) for service, _, use in listed(tmp_path)] == [
        (service, "signing") for service in ("approval", "audit", "notifier", "provisioner", "ticket")
    ]


def test_new_for_a_service_that_has_one_makes_the_next(tmp_path: Path) -> None:
    for _ in range(2):
        assert jit("keys", "new", "audit", FOLDER, str(tmp_path)).exit_code == 0
    assert sorted(use for _, _, use in listed(tmp_path)) == ["next", "signing"]
    third = jit("keys", "new", "audit", FOLDER, str(tmp_path))
    assert third.exit_code == 2
    assert "waits to be used" in third.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("new", "portal"), "portal is no service"),
        (("new",), "name the services, or say --missing"),
        (("retire", "0123456789abcdef"), "has no key 0123456789abcdef"),
        (("retire", "0123456789abcdef", "--stolen"), "has no key 0123456789abcdef"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = jit("keys", *arguments, FOLDER, str(tmp_path))
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_retire_without_a_broker_to_ask_leaves_the_key(tmp_path: Path) -> None:
    file = KeyFolder(tmp_path).make("audit")
    ((_, key, _),) = listed(tmp_path)
    done = jit("keys", "retire", key, FOLDER, str(tmp_path), JIT_KAFKA_BOOTSTRAP='["127.0.0.1:1"]')
    assert done.exit_code == 2
    assert "KafkaConnectionError" in done.stderr
    assert file.exists()
    assert listed(tmp_path) == [["audit", key, "signing"]]


def test_stolen_key_is_retired_at_once(tmp_path: Path) -> None:
    file = KeyFolder(tmp_path).make("audit")
    ((_, key, _),) = listed(tmp_path)
    done = jit("keys", "retire", key, "--stolen", FOLDER, str(tmp_path))
    assert done.exit_code == 0
    assert not file.exists()
    assert listed(tmp_path) == [["audit", key, "retired"]]
