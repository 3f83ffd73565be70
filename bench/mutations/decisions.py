"""Mutants of what is decided to do next."""

from bench.mutations.mutant import of

MUTANTS = (
    *of(
        "domain",
        (
            "what is being granted is not read",
            "if assignment.in_state(ClaimState.GRANTING):\n        return True",
            "",
        ),
        (
            "what was closed is not looked at again",
            "return bool(ending) or assignment.ever_operated",
            "return bool(ending)",
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
            "unread = not held and assignment.in_state(ClaimState.REVOKING)",
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
        (
            "what a late list shows after a deletion is granted",
            "and not _just_deleted(assignment, step):",
            ":",
        ),
        (
            "a creation is granted without having been seen",
            "if reading.found and not doubtful and not",
            "if not doubtful and not",
        ),
        (
            "a creation that is not listed is waited for without end",
            "if assignment.observed is Observed.CREATED and _is_recent(assignment.settled_at, step):",
            "if assignment.observed is Observed.CREATED:",
        ),
        (
            "a creation that is not listed yet is repeated",
            "if assignment.observed is Observed.CREATED and _is_recent(assignment.settled_at, step):",
            "if assignment.observed is Observed.PRESENT:",
        ),
        (
            "one attempt too many",
            "if assignment.attempt >= step.timing.attempts:",
            "if assignment.attempt > step.timing.attempts:",
        ),
        (
            "a creation is begun without a slot",
            "if not step.may_send:\n        return Change(replace(assignment, next_at=step.now))",
            "",
        ),
        (
            "a deletion is begun without a slot",
            "if not step.may_send:\n        return Change(replace(after, next_at=step.now), alerts=alerts)",
            "",
        ),
        (
            "a list is believed right after a deletion's end",
            "return assignment.observed is Observed.DELETED or _is_recent(assignment.deletion_ended, step)",
            "return assignment.observed is Observed.DELETED",
        ),
        (
            "somebody else's assignment becomes ours",
            "pre_existing=not assignment.ever_operated,",
            "pre_existing=False,",
        ),
        (
            "somebody else's assignment is deleted",
            "if reading.found and not seen.ever_operated:",
            "if reading.found and seen.pre_existing and seen.ever_operated:",
        ),
        (
            "a creation that is not listed is not deleted",
            "if reading.found or seen.observed in {Observed.CREATED, Observed.DOUBTFUL}:",
            "if reading.found or seen.observed is Observed.DOUBTFUL:",
        ),
        (
            "a failed creation that is not listed is not deleted",
            "if reading.found or seen.observed in {Observed.CREATED, Observed.DOUBTFUL}:",
            "if reading.found or seen.observed is Observed.CREATED:",
        ),
        (
            "absence before a deletion counts after it",
            "after = replace(undone.state, absent_seen=0, absent_first=None, closed_at=None)",
            "after = replace(undone.state, closed_at=None)",
        ),
        (
            "access that is there again is told nobody",
            "alerts = () if assignment.closed_at is None else (_reappeared(assignment),)",
            "alerts = ()",
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
            "if seen.ever_operated and not long_enough:",
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
            "a creation is not written ahead as ours",
            "ever_operated=True,",
            "ever_operated=assignment.ever_operated,",
        ),
        (
            "a creation carries the id of an earlier one",
            "assignment = replace(assignment, request_id=None, deletion_id=None)",
            "assignment = replace(assignment, deletion_id=None)",
        ),
        (
            "what is half there is forgotten by the next creation",
            "observed=Observed.DOUBTFUL if doubtful else Observed.UNKNOWN",
            "observed=Observed.UNKNOWN",
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
            'return replace(failed, state=replace(_turned(failed.state, "absent"), next_at=step.now))',
            "return replace(failed, state=replace(failed.state, next_at=None))",
        ),
    ),
)
