"""Approval rules: what they may say is checked here, storing and telling is shared/configuration.py's.

Open reviews follow a change by themselves (refresh.py).
"""

from shared import configuration
from shared.access import Caller
from shared.conditions import Precondition
from shared.configuration import Told
from shared.context import Context
from shared.contracts.configuration import RuleChanged, RuleRegistered, RuleRemoved
from shared.contracts.documents import ApprovalRule
from shared.errors import Invalid
from shared.idempotency import Answer
from shared.policy.validation import validate_rule

TOLD = Told(RuleRegistered, RuleChanged, RuleRemoved)


async def put_rule(context: Context, caller: Caller, rule: ApprovalRule, condition: Precondition) -> Answer:
    """Create or replace a rule, or name all its problems."""
    if problems := validate_rule(rule, context.world):
        raise Invalid(
            f"the rule has {len(problems)} problem(s); see errors", code="rule_invalid", fields=problems
        )
    return await configuration.put(context, caller, rule, condition, told=TOLD, name=rule.name)


async def remove_rule(context: Context, caller: Caller, rule_id: str, condition: Precondition) -> Answer:
    """Remove a rule for ever."""
    return await configuration.remove(context, caller, ApprovalRule, rule_id, condition, told=TOLD)
