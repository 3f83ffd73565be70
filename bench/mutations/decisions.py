"""Mutants of what is decided to do next."""

from bench.mutations.mutant import of

MUTANTS = (
    *of(
        "domain",
        (
            "what is being granted is not read",
            "if assignment.in_state(ClaimState.GRANTING, ClaimState.REVOKING):",
            "if assignment.in_state(ClaimState.REVOKING):",
        ),
        (
            "what was closed is not looked at again",
            "return bool(assignment.in_state(*ASKED)) or assignment.ours",
            "return bool(assignment.in_state(*ASKED))",
        ),
        (
            "a claim begins without a slot",
            "elif isinstance(verdict, Passed) and may_begin:",
            "elif isinstance(verdict, Passed):",
        ),
        (
            "a window that is over to the second goes on",
            "if claim.is_open and claim.ends_at <= step.now]",
            "if claim.is_open and claim.ends_at < step.now]",
        ),
        (
            "what ended without a reading is forgotten",
            "unread = bool(assignment.in_state(ClaimState.REVOKING))",
            "unread = False",
        ),
        (
            "attempts to make it count against taking it away",
            "attempt = assignment.attempt if assignment.desired == desired else 0",
            "attempt = assignment.attempt",
        ),
        (
            "a failed creation is granted when it is listed",
            "if reading.found and not doubtful and not",
            "if reading.found and not",
        ),
        ("what a late list shows after a deletion is granted", "and not _just_deleted(seen, step):", ":"),
        (
            "a creation is granted without having been seen",
            "if reading.found and not doubtful and not",
            "if not doubtful and not",
        ),
        (
            "a creation that is not listed is waited for without end",
            "if step.is_recent(seen.settled_at):",
            "if seen.settled_at:",
        ),
        (
            "a creation that is not listed yet is repeated",
            "if step.is_recent(seen.settled_at):",
            "if not seen.settled_at:",
        ),
        (
            "one attempt too many",
            "if seen.attempt >= step.timing.attempts:",
            "if seen.attempt > step.timing.attempts:",
        ),
        (
            "a creation is begun without a slot",
            "if not step.may_send:\n        return Change(seen.due(step.now))",
            "",
        ),
        (
            "a deletion is begun without a slot",
            "if not step.may_send:\n        return Change(after.due(step.now), alerts=alerts)",
            "",
        ),
        ("what waits for the policy spins", "if not asked:\n        return timing.policy_retry", ""),
        ("what is held spins", "if held:\n        return timing.hold_retry", ""),
        (
            "a list is believed right after a deletion's end",
            "return assignment.observed is Observed.DELETED or step.is_recent(assignment.deletion_ended)",
            "return assignment.observed is Observed.DELETED",
        ),
        (
            "somebody else's assignment becomes ours",
            "pre_existing=not assignment.ours,",
            "pre_existing=False,",
        ),
        (
            "somebody else's assignment is deleted",
            "if reading.found and not seen.ours:",
            "if reading.found and seen.pre_existing and not seen.ours:",
        ),
        (
            "a creation that is not listed is not deleted",
            "seen.observed in {Observed.CREATED, Observed.DOUBTFUL} or",
            "seen.observed is Observed.DOUBTFUL or",
        ),
        (
            "a failed creation that is not listed is not deleted",
            "seen.observed in {Observed.CREATED, Observed.DOUBTFUL} or",
            "seen.observed is Observed.CREATED or",
        ),
        (
            "absence before a deletion counts after it",
            "absent_seen=0,\n        absent_first=None,\n        reappeared=",
            "reappeared=",
        ),
        (
            "access that is there again is told nobody",
            "if after.reappeared and not before.reappeared:",
            "if after.reappeared and not after.reappeared:",
        ),
        (
            "a few looks in one moment prove absence",
            "seen.absent_seen >= timing.settle_checks and step.now - first >= timing.settle_time",
            "seen.absent_seen >= timing.settle_checks",
        ),
        (
            "two looks long apart prove absence",
            "seen.absent_seen >= timing.settle_checks and step.now - first >= timing.settle_time",
            "step.now - first >= timing.settle_time",
        ),
        (
            "one look proves absence",
            "if seen.ours and not long_enough:",
            "if seen.pre_existing and not long_enough:",
        ),
        (
            "what was closed is looked at for ever",
            "closed_at=assignment.closed_at or step.now,",
            "closed_at=step.now,",
        ),
        (
            "what was closed is not due for another look",
            "again = _earliest(_next_relist(after, step), ",
            "again = _earliest(",
        ),
        (
            "what is not ours is not said to keep the access",
            "if assignment.pre_existing:\n        keeping = (*keeping, NOT_OURS)",
            "",
        ),
        (
            "an accepted creation is not ours",
            "row, op=replace(op, request_id=request_id), ours=True, put_off=0,",
            "row, op=replace(op, request_id=request_id), put_off=0,",
        ),
        (
            "a creation carries the id of an earlier one",
            "assignment = replace(assignment, request_id=None, deletion_id=None)",
            "assignment = replace(assignment, deletion_id=None)",
        ),
        (
            "what is half there is forgotten by the next creation",
            "doubted = {Observed.DOUBTFUL} if kind",
            "doubted = set[Observed]() if kind",
        ),
        (
            "another look falls out",
            "return min((look for look in looks if look > step.now), default=None)",
            "return max((look for look in looks if look > step.now), default=None)",
        ),
        (
            "a claim that waits is not come back for",
            "return replace(assignment.due(again), last_error=why)",
            "return replace(assignment, last_error=why)",
        ),
        (
            "a creation that failed for good is not revoked",
            'return replace(failed, state=replace(turned(failed.state, "absent"), next_at=step.now))',
            "return replace(failed, state=replace(failed.state, next_at=None))",
        ),
    ),
)
