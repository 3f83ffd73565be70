"""Mutants of what may be said of AWS: whose an operation is, and what proves absence."""

from bench.mutations.mutant import of

MUTANTS = (
    *of(
        "domain",
        (
            "a forgotten creation cannot come true any more",
            "return replace(row, creating_until=over, observed=Observed.DOUBTFUL)",
            "return replace(row, observed=Observed.DOUBTFUL)",
        ),
        (
            "what AWS lists late is forgotten at once",
            "if row.op is None or timedelta(0) <= now - row.op.started < timing.listed_within:",
            "if row.op is None:",
        ),
        (
            "a late list is asked as fast as it answers",
            "observed=Observed.DELETED, next_at=now + timing.poll_every",
            "observed=Observed.DELETED, next_at=now",
        ),
        (
            "nothing to delete is believed though it may come true",
            'if code == "not_found" and not row.may_come_true(now):',
            'if code == "not_found":',
        ),
        (
            "a lost deletion ends when it is forgotten",
            "return replace(_deleted(row, over), observed=observed)",
            "return replace(_deleted(row, now), observed=observed)",
        ),
        (
            "a deletion that succeeded leaves a creation to come",
            "creating_until=None,\n        op=None,",
            "creating_until=None if created else row.creating_until,\n        op=None,",
        ),
        (
            "a creation that succeeded leaves an earlier one to come",
            "creating_until=None,\n        op=None,",
            "creating_until=row.creating_until if created else None,\n        op=None,",
        ),
        (
            "what is put off comes at the same pace",
            "next_at=now + timing.back_off(put_off, jitter))",
            "next_at=now + timing.back_off(1, jitter))",
        ),
        (
            "a refused call makes it ours",
            "row = replace(row, op=None, settled_at=now, last_code=code",
            "row = replace(row, op=None, ours=True, settled_at=now, last_code=code",
        ),
        (
            "a lost call makes nothing ours",
            "return replace(row, ours=True, last_error=error",
            "return replace(row, last_error=error",
        ),
        (
            "a failed deletion ends the doubt",
            "Observed.DOUBTFUL if created or row.may_come_true(now)",
            "Observed.DOUBTFUL if created",
        ),
        (
            "a call is ours before AWS was asked",
            "        op=Op(kind, now),\n",
            "        op=Op(kind, now),\n        ours=True,\n",
        ),
        (
            "released because of what is only being granted",
            "return Change(replace(seen, next_at=step.now + step.timing.poll_every))",
            "return release(replace(seen, next_at=step.now + step.timing.poll_every), step)",
        ),
        (
            "released because of what is only being created",
            'return Change(operating(seen, "create", step.now))',
            'return release(operating(seen, "create", step.now), step)',
        ),
        (
            "a creation that is never listed uses up no attempt",
            "attempt=seen.attempt + 1, last_code=NOT_VISIBLE",
            "last_code=NOT_VISIBLE",
        ),
        ("absence counts though a creation may come true", " or seen.may_come_true(step.now)", ""),
        (
            "what we made once is ours for ever",
            "ours=after.ours and not _is_explained_no_more(after, step)",
            "ours=after.ours",
        ),
        (
            "what we made is somebody else's after the first look",
            "step.now >= closed_at + max(looks)",
            "step.now >= closed_at + min(looks)",
        ),
        (
            "what is there again is forgotten while it is deleted",
            "reappeared=assignment.reappeared or (",
            "reappeared=(",
        ),
        (
            "moments from before a clock was set back count",
            "    assignment = assignment.not_ahead_of(step.now, step.timing)\n",
            "",
        ),
        (
            "what ended is not read before it is over",
            "if assignment.in_state(ClaimState.GRANTING, ClaimState.REVOKING):",
            "if assignment.in_state(ClaimState.GRANTING):",
        ),
        (
            "a set that AWS has changed is granted",
            "{known.permission_set.digest, live.set_digest if live else claim.set_digest}",
            "{known.permission_set.digest}",
        ),
    ),
    *of(
        "reconcile",
        (
            "a clock that was set back holds everything up",
            "            await self._after_set_back(now)\n",
            "            pass\n",
        ),
        (
            "not found is absence",
            "is DriverProblem.NOT_FOUND and await parts.driver.is_gone(",
            "is DriverProblem.NOT_FOUND or await parts.driver.is_gone(",
        ),
        (
            "what a set allows is read once and never again",
            "if known.read_at is None or not timedelta(0) <= now - known.read_at < FRESH_FOR:",
            "if known.read_at is None:",
        ),
        (
            "what a set allows is read for each grant of a burst",
            "if known.read_at is None or not timedelta(0) <= now - known.read_at < FRESH_FOR:",
            "if known is not None:",
        ),
        (
            "the alert of what is gone again stays",
            "            work.clear(still_there(before))",
            "            pass",
        ),
    ),
)
