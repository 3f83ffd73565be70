"""`jit iam-policy`: what the credentials of a process have to be allowed at AWS, and nothing else."""

import json
import re
import sys
from typing import Annotated, Final, NoReturn

import typer

from services.provisioner.identity_center.permissions import FEATURES, Scope, policy
from shared.foundation.shapes import ACCOUNT_ID

_INSTANCE: Final = re.compile(r"arn:aws[a-z-]*:sso:::instance/(?:sso)?ins-[A-Za-z0-9.-]{1,64}")
_TOPIC: Final = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+")
_TAG: Final = re.compile(r"([\w .:/+@-]{1,128})=([\w .:/+@-]{0,256})")
_EXAMPLE: Final = "arn:aws:sso:::instance/ssoins-EXAMPLE"
_ANY: Final = "any"


def iam_policy(
    feature: Annotated[str, typer.Argument(help=f"One of {', '.join(FEATURES)}.")],
    *,
    instance_arn: Annotated[str, typer.Option(help="Of Identity Center.")] = _EXAMPLE,
    tag: Annotated[
        str, typer.Option(help="Key=value that a permission set must carry to be assigned; `any` for none.")
    ] = "jit-managed=true",
    account: Annotated[
        list[str] | None, typer.Option(help="Where access may be given; may be repeated. All unless given.")
    ] = None,
    topic_arn: Annotated[str | None, typer.Option(help="Of alerts; `sns` needs it.")] = None,
) -> None:
    """Print the IAM policy of one feature, made from the calls that the code makes."""
    found = next((one for one in FEATURES if one == feature), None)
    if found is None:
        _refuse(f"{feature} is no feature; choose of {', '.join(FEATURES)}")
    if found == "sns" and topic_arn is None:
        _refuse("sns needs --topic-arn, as JIT_ALERTS_TOPIC_ARN has it")
    scope = Scope(
        instance_arn=_fitting(_INSTANCE, instance_arn, "--instance-arn"),
        accounts=tuple(_fitting(re.compile(ACCOUNT_ID), one, "--account") for one in account or ()),
        tag=None if tag == _ANY else _tag_of(tag),
        topic_arn=None if topic_arn is None else _fitting(_TOPIC, topic_arn, "--topic-arn"),
    )
    print(json.dumps(policy(found, scope), indent=2))


def _tag_of(text: str) -> tuple[str, str]:
    key, _, value = _fitting(_TAG, text, "--tag").partition("=")
    return key, value


def _fitting(pattern: re.Pattern[str], value: str, option: str) -> str:
    """A value that goes into a policy is what it says and no pattern of IAM's."""
    if not pattern.fullmatch(value):
        _refuse(f"{option} cannot be {value}")
    return value


def _refuse(why: str) -> NoReturn:
    print(f"jit iam-policy: {why}", file=sys.stderr)
    raise typer.Exit(2)
