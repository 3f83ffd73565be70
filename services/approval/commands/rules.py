"""Approval rules: each change is a document for every replica and a fact for the log, in one transaction.

What a rule may say is checked in shared/policy/validation.py before anything is stored. Open reviews
follow by themselves (refresh.py).
"""

from dataclasses import dataclass
from typing import Any

from shared import documents, outbox
from shared.access import Caller, format_revision
from shared.context import Context
from shared.contracts.configuration import ConfigurationFact, RuleChanged, RuleRegistered, RuleRemoved
from shared.contracts.documents import ApprovalRule
from shared.db import Conn, transaction
from shared.errors import Conflict, Invalid, NotFound, PreconditionFailed, PreconditionRequired
from shared.idempotency import Answer
from shared.policy.validation import validate_rule
from shared.web import etag


@dataclass(frozen=True)
class Precondition:
    """What the caller takes to be there: `If-Match` and `If-None-Match: *`, as read from the headers."""

    revision: int | None = None
    """The revision that was read."""
    anything: bool = False
    """`If-Match: *`: whatever is there, but something."""
    nothing: bool = False
    """`If-None-Match: *`: only to create."""


async def put_rule(
    context: Context, caller: Caller, rule: ApprovalRule, precondition: Precondition
) -> Answer:
    """Create or replace a rule; one that says the same already stays as it is, without a fact."""
    if problems := validate_rule(rule, context.world):
        raise Invalid(
            f"the rule has {len(problems)} problem(s); see errors", code="rule_invalid", fields=problems
        )
    async with transaction(context.pool) as conn:
        before = await documents.get(conn, ApprovalRule, rule.id)
        _check(before, precondition)
        if before is not None and rule.model_copy(update={"revision": before.revision}) == before:
            return _answer(before, status=200)
        stored = await _store(context, conn, rule, before=before)
        cls = RuleRegistered if before is None else RuleChanged
        fact = _fact(context, caller, cls, before=before, after=stored, revision=stored.revision)
        await outbox.append(conn, context.service, fact)
        return _answer(stored, status=201 if before is None else 200)


async def remove_rule(context: Context, caller: Caller, rule_id: str, precondition: Precondition) -> Answer:
    """Remove a rule for ever: its id is not used again."""
    async with transaction(context.pool) as conn:
        before = await documents.get(conn, ApprovalRule, rule_id)
        if before is None:
            raise NotFound(f"there is no rule {rule_id}", code="rule_unknown")
        _check(before, precondition)
        gone = before.model_copy(update={"deleted": True})
        stored = await _store(context, conn, gone, before=before)
        fact = _fact(context, caller, RuleRemoved, before=before, after=None, revision=stored.revision)
        await outbox.append(conn, context.service, fact)
        return Answer(204, None, format_revision(rules=stored.revision))


def _check(before: ApprovalRule | None, precondition: Precondition) -> None:
    if before is None:
        if precondition.anything or precondition.revision is not None:
            raise PreconditionFailed(
                "the rule is not there any more; read the list again", code="rule_changed"
            )
        return
    if precondition.nothing:
        raise PreconditionFailed(
            "there is a rule with this id already; choose another id, or replace it with If-Match",
            code="rule_exists",
        )
    if precondition.revision is None and not precondition.anything:
        raise PreconditionRequired(
            f'the rule exists: read it and send its ETag with the change, If-Match: "{before.revision}"',
            code="if_match_missing",
        )
    if precondition.revision not in (None, before.revision):
        raise _changed(before.id)


async def _store(
    context: Context, conn: Conn, rule: ApprovalRule, *, before: ApprovalRule | None
) -> ApprovalRule:
    """Guarded a second time under the documents' lock: two administrators may have read the same."""
    expected = 0 if before is None else before.revision
    try:
        (stored,) = await documents.put(
            conn, context.service, rule, at=context.clock.now(), expected=expected
        )
    except Conflict as error:
        if error.code == "document_changed":
            raise _changed(rule.id) from error
        raise
    return stored


def _changed(rule_id: str) -> PreconditionFailed:
    return PreconditionFailed(
        f"the rule {rule_id} has changed since you read it; read it again and repeat your change",
        code="rule_changed",
    )


def _fact(
    context: Context,
    caller: Caller,
    cls: type[ConfigurationFact],
    *,
    before: ApprovalRule | None,
    after: ApprovalRule | None,
    revision: int,
) -> ConfigurationFact:
    rule = after or before
    assert rule is not None, "a change has a rule before or after it"  # noqa: S101 (told by its callers)
    return cls(
        subject=rule.id,
        version=revision,
        actor=caller.actor,
        why=f"the rule {rule.name} was {_WHAT[cls]}",
        cause=caller.cause,
        at=context.clock.now(),
        document=rule.key,
        name=rule.name,
        revision=revision,
        before=_body(before),
        after=_body(after),
    )


_WHAT: dict[type[ConfigurationFact], str] = {
    RuleRegistered: "defined",
    RuleChanged: "changed",
    RuleRemoved: "removed",
}


def _body(rule: ApprovalRule | None) -> dict[str, Any] | None:
    return None if rule is None else rule.model_dump(mode="json")


def _answer(rule: ApprovalRule, *, status: int) -> Answer:
    headers = {"ETag": etag(rule.revision), **format_revision(rules=rule.revision)}
    return Answer(status, rule.model_dump(mode="json"), headers)
