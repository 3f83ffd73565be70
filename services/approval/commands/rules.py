"""Approval rules: what they may say is checked here; shared/configuration/changes.py stores and tells.

Open reviews follow a change by themselves (refresh.py).
"""

from shared.configuration import changes
from shared.configuration.changes import Told
from shared.context import Context
from shared.contracts.configuration import RuleChanged, RuleRegistered, RuleRemoved
from shared.contracts.documents import ApprovalRule
from shared.foundation.errors import Invalid
from shared.http.access import Caller
from shared.http.conditions import Precondition
from shared.http.idempotency import Answer
from shared.policy.validation import validate_rule

TOLD = Told(RuleRegistered, RuleChanged, RuleRemoved)


async def put_rule(context: Context, caller: Caller, rule: ApprovalRule, condition: Precondition) -> Answer:
    """Create or replace a rule, or name all its problems."""
    if problems := validate_rule(rule, context.world):
        raise Invalid(
            f"the rule has {len(problems)} problem(s); see errors", code="rule_invalid", fields=problems
        )
    return await changes.put(context, caller, rule, condition, told=TOLD, name=rule.name)


async def remove_rule(context: Context, caller: Caller, rule_id: str, condition: Precondition) -> Answer:
    """Remove a rule for ever."""
    return await changes.remove(context, caller, ApprovalRule, rule_id, condition, told=TOLD)
