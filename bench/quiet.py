"""Whether AWS, asked as anybody asks it, has exactly the assignments that `GET /v1/grants` says are active.

Asked by the AWS CLI where `make aws-cli` has installed it, else by plain botocore. Only a quiet moment can be
compared: nothing is being granted or revoked, before and after AWS was read.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
from botocore.session import get_session

from bench.client import Person
from bench.day_people import ASKED_FOR, Key
from bench.day_truth import Verdict
from bench.fleet import Fleet

AWS_CLI: Final = Path(__file__).resolve().parent.parent / ".venv-aws" / "bin" / "aws"
_ENVIRONMENT: Final = {
    "AWS_ACCESS_KEY_ID": "judge",
    "AWS_SECRET_ACCESS_KEY": "judge",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_CONFIG_FILE": os.devnull,
}
_AT_ONCE: Final = 2
_MOVING: Final = ("granting", "revoking")


@dataclass
class Quiet:
    """How often both were compared, by which client, and where they differed."""

    standing: frozenset[Key]
    """Users' assignments that were there before JIT."""
    moments: int = 0
    live: int = 0
    """Active grants over all moments: comparing nothing with nothing shows little."""
    by: str = ""
    differences: list[str] = field(default_factory=list)

    @classmethod
    def beside(cls, standing: Collection[tuple[str, ...]]) -> "Quiet":
        """`standing` as bench/day_truth.py's keys: groups' too."""
        return cls(frozenset((user, account, arn) for kind, user, account, arn in standing if kind == "USER"))

    def judge(self, verdict: Verdict) -> None:
        for difference in self.differences:
            verdict.complain("quiet", difference)
        verdict.counts["quiet_moments"] = self.moments
        verdict.counts["active_at_quiet_moments"] = self.live


async def compare(running: Fleet, quiet: Quiet) -> bool:
    """Compare once, if it is quiet and all can be asked; whether it was."""
    try:
        before = await _settled_grants(running)
        if before is None:
            return False
        held = await _assignments(running, quiet)
        if await _settled_grants(running) != before:
            return False
    except (httpx2.HTTPError, TimeoutError, AwsAway):
        return False
    quiet.moments += 1
    quiet.live += len(before)
    quiet.differences += [f"{key} is active, and AWS has it not" for key in before - held]
    quiet.differences += [
        f"{key} is in AWS, and no grant is active" for key in held - before - quiet.standing
    ]
    return True


async def until_compared(running: Fleet, quiet: Quiet, *, seconds: float) -> None:
    """Compare at the next quiet moment; that none comes is a difference too."""
    deadline = time.monotonic() + seconds
    while not await compare(running, quiet):
        if time.monotonic() > deadline:
            quiet.differences.append(f"no quiet moment came within {seconds:.0f} s")
            return
        await asyncio.sleep(1)


async def watch(running: Fleet, quiet: Quiet, *, every_s: float) -> None:
    """Compare at every quiet moment that is met; for ever."""
    while True:
        await asyncio.sleep(every_s)
        await compare(running, quiet)


class AwsAway(Exception):
    """AWS could not be read: a fault that was put in struck the judge's own call."""


async def _settled_grants(running: Fleet) -> frozenset[Key] | None:
    """What is active; None while something moves, is due, or AWS works for us."""
    auditor = Person(running, "aud")
    operations = (await auditor.call("GET", "/v1/operations", patience=5)).body
    states = Counter(operations["grants"])
    if operations["in_flight"] or operations["due"] or any(states[state] for state in _MOVING):
        return None
    arns = {one.arn.rsplit("/", 1)[-1]: one.arn for one in running.organisation.permission_sets.values()}
    found: set[Key] = set()
    cursor = ""
    while True:
        page = (await auditor.call("GET", f"/v1/grants?state=active&limit=100{cursor}", patience=5)).body
        found |= {(one["user_id"], one["account_id"], arns[one["set_id"]]) for one in page["items"]}
        if not page["next_cursor"]:
            return frozenset(found)
        cursor = f"&cursor={page['next_cursor']}"


async def _assignments(running: Fleet, quiet: Quiet) -> frozenset[Key]:
    """Every user's assignment with a set that people ask for, from AWS's lists."""
    client = _Cli(running) if AWS_CLI.exists() else _Botocore(running)
    quiet.by = client.name
    sets = [running.organisation.find_set(name).arn for name in ASKED_FOR]
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def rows(operation: str, name: str, **params: str) -> list[Any]:
        async with at_once:
            answer = await client.ask(operation, **params)
        return list(answer[name])

    async def holders(arn: str) -> set[Key]:
        accounts = await rows(
            "list-accounts-for-provisioned-permission-set", "AccountIds", permission_set_arn=arn
        )
        lists = await asyncio.gather(
            *(
                rows("list-account-assignments", "AccountAssignments", permission_set_arn=arn, account_id=one)
                for one in accounts
            )
        )
        return {
            (row["PrincipalId"], row["AccountId"], row["PermissionSetArn"])
            for row in (row for rows in lists for row in rows)
            if row["PrincipalType"] == "USER"
        }

    return frozenset[Key]().union(*await asyncio.gather(*(holders(arn) for arn in sets)))


class _Cli:
    """The unmodified AWS CLI, a process for each question."""

    name = "aws cli"

    def __init__(self, running: Fleet) -> None:
        self._environment = {
            **_ENVIRONMENT, "PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": running.simulator_url
        }  # fmt: skip
        self._instance = running.organisation.instance.arn

    async def ask(self, operation: str, **params: str) -> dict[str, Any]:
        options = [f"--{name.replace('_', '-')}={value}" for name, value in params.items()]
        process = await asyncio.create_subprocess_exec(
            str(AWS_CLI), "sso-admin", operation, f"--instance-arn={self._instance}", *options,
            env=self._environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, errors = await process.communicate()
        if process.returncode:
            raise AwsAway(errors.decode())
        answer: dict[str, Any] = json.loads(out)
        return answer


class _Botocore:
    """The same questions without the CLI."""

    name = "botocore"

    def __init__(self, running: Fleet) -> None:
        self._client = get_session().create_client(
            "sso-admin",
            region_name="eu-central-1",
            endpoint_url=running.simulator_url,
            aws_access_key_id="judge",
            aws_secret_access_key="judge",  # noqa: S106 (the simulator looks at no secret)
        )
        self._instance = running.organisation.instance.arn

    async def ask(self, operation: str, **params: str) -> dict[str, Any]:
        named = {"".join(part.title() for part in name.split("_")): value for name, value in params.items()}
        pages = self._client.get_paginator(operation.replace("-", "_"))
        whole = pages.paginate(InstanceArn=self._instance, **named)
        try:
            answer: dict[str, Any] = await asyncio.to_thread(whole.build_full_result)
        except Exception as error:
            raise AwsAway(str(error)) from error
        return answer
