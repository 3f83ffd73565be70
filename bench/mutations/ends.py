"""Mutants of how claims are over, of what is done towards it, and of the stops that are remembered."""

from bench.mutations.mutant import of

MUTANTS = (
    *of(
        "domain",
        (
            "what nobody caused forgets its approval",
            '{"cause": origin.cause or claim.cause}',
            '{"cause": origin.cause}',
        ),
        ("facts of one claim have one number", "version=claim.version + 1)", "version=claim.version)"),
    ),
    *of(
        "domain",
        (
            "a revoke that was early is told as late by less than nothing",
            "late_by=max(absent_first - ended_at, timedelta(0))",
            "late_by=absent_first - ended_at",
        ),
        (
            "what was granted counts as never shown",
            "if claim.granted_at is not None or claim.state is not ClaimState.REVOKING:",
            "if claim.state is not ClaimState.REVOKING:",
        ),
        (
            "who still holds it is told of its deletion",
            "if claim.granted_at is not None or claim.state is not ClaimState.REVOKING:",
            "if claim.granted_at is not None:",
        ),
        (
            "what was made and undone has no request",
            "request_id=claim.request_id or request_id))",
            "request_id=claim.request_id))",
        ),
        (
            "credentials of a release count from when it was noticed",
            "until = end_of(claim) + claim.session_duration",
            "until = origin.at + claim.session_duration",
        ),
        (
            "the code of a failure is how it ended",
            "moved(claim, ClaimState.FAILED),\n        code=claim.code or claim.end_cause,",
            "moved(claim, ClaimState.FAILED),\n        code=claim.end_cause,",
        ),
    ),
    *of(
        "domain",
        (
            "lists are late for a moment more",
            "self.now - moment < self.timing.visible_within",
            "self.now - moment <= self.timing.visible_within",
        ),
        (
            "what is made anew is not ours though we made it",
            "pre_existing=False,\n        observed=assignment.observed if",
            "observed=assignment.observed if",
        ),
        (
            "what was created is forgotten with a deletion that is refused",
            "else {Observed.DOUBTFUL, Observed.CREATED}",
            "else {Observed.DOUBTFUL}",
        ),
    ),
    *of(
        "domain",
        (
            "attempts before a grant count after it",
            "observed=Observed.PRESENT,\n        attempt=0,",
            "observed=Observed.PRESENT,",
        ),
        (
            "what is wanted again is told as there again",
            "pre_existing=not assignment.ours,\n        reappeared=False,",
            "pre_existing=not assignment.ours,",
        ),
        (
            "what is granted anew was closed once",
            "absent_first=None,\n        closed_at=None,\n    )\n    doubtful",
            "absent_first=None,\n    )\n    doubtful",
        ),
        (
            "what was just created is made anew for it was deleted before",
            "if assignment.observed is Observed.CREATED or assignment.deletion_ended is None:",
            "if assignment.deletion_ended is None:",
        ),
    ),
    *of(
        "domain",
        (
            "deletions that come to nothing are told nobody",
            "if after.reappeared and (before.attempt or before.observed is Observed.DELETED):",
            "if after.reappeared and before.attempt:",
        ),
        (
            "what is there again counts as closed since the first time",
            "(reading.found and assignment.closed_at is not None),\n        closed_at=None,",
            "(reading.found and assignment.closed_at is not None),",
        ),
        (
            "a first end is told as there again",
            "(reading.found and assignment.closed_at is not None),",
            "reading.found,",
        ),
        (
            "what is not ours is remembered by nobody",
            "observed=Observed.PRESENT, pre_existing=True, next_at",
            "observed=Observed.PRESENT, next_at",
        ),
        (
            "pauses of an earlier grant lengthen those of the next",
            "attempt=0,\n        put_off=0,\n",
            "attempt=0,\n",
        ),
        (
            "one look too many before it is gone",
            "seen.absent_seen >= timing.settle_checks and",
            "seen.absent_seen > timing.settle_checks and",
        ),
        (
            "the settle time must be over by more",
            "step.now - first >= timing.settle_time",
            "step.now - first > timing.settle_time",
        ),
        (
            "absence is counted from the newest look",
            "first = assignment.absent_first or step.now",
            "first = step.now",
        ),
        (
            "the last look is one too early",
            "if look > step.now), default=None)",
            "if look >= step.now), default=None)",
        ),
    ),
    *of(
        "reconcile",
        (
            "a read-back is answered by what was read before",
            'if priority == "grant" or (priority == "revoke" and assignment.ours):',
            'if priority in {"grant", "verify"} or (priority == "revoke" and assignment.ours):',
        ),
        (
            "released because of what was there before this visit",
            'or (priority == "revoke" and assignment.ours):',
            'or priority == "revoke":',
        ),
        (
            "an answer from before the claim came serves it",
            "max(max(claim.starts_at, claim.received_at) for",
            "max(claim.starts_at for",
        ),
        (
            "an answer from before the newest claim serves it",
            "return max(max(claim.starts_at",
            "return min(max(claim.starts_at",
        ),
        (
            "a claim begins of which AWS was not asked",
            "seen is not None and live is not None and (",
            "seen is not None and (",
        ),
    ),
    *of(
        "store",
        (
            "a stop of everything meets what is asked for after it",
            "AND stopped_at >= $4",
            "AND $4::timestamptz IS NOT NULL",
        ),
        ("a stop of the same moment is not met", "AND stopped_at >= $4", "AND stopped_at > $4"),
        ("a stop of a whole ticket is forgotten", "[grant_id, ticket_id],", "[grant_id],"),
        ("a stop of a grant is forgotten", "[grant_id, ticket_id],", "[ticket_id],"),
        (
            "a stop of an account is forgotten",
            "(('user', $2), ('account', $3))",
            "(('user', $2), ('user', $3))",
        ),
        (
            "the newest stop is told as what ended it",
            "ORDER BY stopped_at LIMIT 1",
            "ORDER BY stopped_at DESC LIMIT 1",
        ),
        (
            "a claim is stored while all access is stopped",
            '"SELECT pg_advisory_xact_lock_shared($1)"',
            '"SELECT $1::int"',
        ),
        (
            "a stop of everything waits for no claim",
            '"SELECT pg_advisory_xact_lock($1)"',
            '"SELECT pg_advisory_xact_lock_shared($1)"',
        ),
    ),
)
