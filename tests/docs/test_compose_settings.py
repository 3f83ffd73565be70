"""docker-compose.yml tells each service every setting that an operator may give, by one of two files."""

import re
from typing import Any, Final

import pytest
import yaml

from cli.settings_page import names_file
from shared.database.migrate import SERVICES
from tests.support.pages import ROOT

COMPOSE: Final = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
_GIVEN: Final = re.compile(r"^(JIT_[A-Z_]+)=", re.MULTILINE)
_TAKEN: Final = re.compile(r"\$\{(JIT_[A-Z_]+)")
_SETTINGS_FILE: Final = {"path": "${JIT_SETTINGS_FILE:-.env.jit}", "required": False}


def given_in(name: str) -> set[str]:
    return set(_GIVEN.findall((ROOT / name).read_text(encoding="utf-8")))


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE)["services"][name]
    return found


@pytest.mark.parametrize("name", [".env.example", "deploy/demo.env"])
def test_each_name_of_the_example_is_taken_by_compose(name: str) -> None:
    assert given_in(name) - set(_TAKEN.findall(COMPOSE)) == set()


@pytest.mark.parametrize("name", [*SERVICES, "migrate"])
def test_each_service_is_given_the_file_of_all_other_settings(name: str) -> None:
    assert _SETTINGS_FILE in service(name)["env_file"]


def test_what_wins_over_that_file_can_be_set_by_the_example() -> None:
    """A setting with a fixed default here that .env.example did not name would be set in vain."""
    told = {name for one in SERVICES for name, value in service(one)["environment"].items() if "${" in value}
    assert told - given_in(".env.example") == {"JIT_DATABASE_URL"}, "made of the passwords"


@pytest.mark.parametrize("name", [*SERVICES, "migrate"])
def test_compose_tells_a_service_only_what_exists(name: str) -> None:
    assert set(service(name)["environment"]) - set(names_file().split()) == set()


def test_the_files_of_the_demo_name_only_what_exists() -> None:
    told = given_in("deploy/demo-settings.env") | given_in("deploy/demo-aws.env")
    assert told - set(names_file().split()) == set()


def test_each_service_sees_its_own_signing_key_and_no_other() -> None:
    made = service("keys")["volumes"]
    for name in SERVICES:
        folder = f"/keys/private/{name}"
        assert service(name)["volumes"] == ["public-keys:/keys/public:ro", f"{name}-key:{folder}:ro"]
        assert service(name)["environment"]["JIT_SIGNING_KEY_FILE"] == f"{folder}/signing.pem"
        assert f"{name}-key:{folder}" in made
