"""Mutants of the assignment, and of what becomes of calls about it."""

from bench.mutations.mutant import of

MUTANTS = (
    *of(
        "domain",
        (
            "a start is due after its window",
            "in self.in_state(ClaimState.SCHEDULED) if claim.in_window(now))",
            "in self.in_state(ClaimState.SCHEDULED) if claim.starts_at <= now)",
        ),
        (
            "an end while AWS is asked wakes nobody",
            "ends = [claim.ends_at for claim in counted if claim.state in ASKED]",
            "ends = [claim.ends_at for claim in counted if claim.state is ClaimState.ACTIVE]",
        ),
        (
            "what waits for something else than time is waited for in a loop",
            "if claim.id not in without]",
            "if claim.id]",
        ),
        (
            "an operation in flight is visited",
            "return self.op is None and self.next_at is not None",
            "return self.next_at is not None",
        ),
        ("a later moment puts off an earlier one", "min(self.next_at, at))", "max(self.next_at, at))"),
        (
            "the end of one claim ends the wish of the other",
            'desired="present" if after.holding(origin.at) else "absent"',
            'desired="absent"',
        ),
        (
            "absence from before an end counts after it",
            "absent_seen=0,\n        absent_first=None,\n        attempt=0,\n        closed_at=None,",
            "attempt=0,\n        closed_at=None,",
        ),
        ("an end makes nothing due", "next_at=origin.at,\n        absent_seen=0,", "absent_seen=0,"),
        (
            "attempts to create count against the deletion",
            "absent_first=None,\n        attempt=0,\n        closed_at=None,",
            "absent_first=None,\n        closed_at=None,",
        ),
        ("an end leaves it closed", "attempt=0,\n        closed_at=None,\n    )", "attempt=0,\n    )"),
    ),
    *of(
        "domain",
        (
            "the creation's id is forgotten",
            'if op.kind == "create":\n        return replace(row, request_id=request_id)',
            'if op.kind == "create":\n        return row',
        ),
        (
            "nobody can ask after an accepted call",
            "row, op=replace(op, request_id=request_id), ours=True,",
            "row, op=op, ours=True,",
        ),
        (
            "a creation that was not sent stays in flight",
            "return replace(row, op=None, next_at=now)",
            "return replace(row, next_at=now)",
        ),
        (
            "a lost call is taken for refused",
            "return replace(row, ours=True, last_error=error, next_at=now + timing.poll_every)",
            "return replace(row, op=None, ours=True, last_error=error, next_at=now + timing.poll_every)",
        ),
        (
            "what AWS denies is asked again",
            'frozenset({"not_found", "denied", "quota", "invalid", "kms"})',
            'frozenset({"not_found", "quota", "invalid", "kms"})',
        ),
        (
            "a conflict uses up an attempt",
            'frozenset({"throttled", "slots_full", "conflict"})',
            'frozenset({"throttled", "slots_full"})',
        ),
        (
            "a refused call stays in flight",
            "row = replace(row, op=None, settled_at=now, last_code=code",
            "row = replace(row, settled_at=now, last_code=code",
        ),
        (
            "a creation refused for good is tried to the end",
            "return replace(row, attempt=timing.attempts, next_at=now)",
            "return replace(row, attempt=row.attempt + 1, next_at=now)",
        ),
        (
            "a refusal makes what is half there absent",
            "observed=Observed.DOUBTFUL if row.observed is Observed.DOUBTFUL else Observed.ABSENT)",
            "observed=Observed.ABSENT)",
        ),
        (
            "nothing to delete is believed at once",
            "observed=Observed.DELETED, next_at=now + timing.poll_every)",
            "observed=Observed.ABSENT, next_at=now + timing.poll_every)",
        ),
        (
            "after a creation lists are still doubted",
            "replace(row, deletion_ended=None) if created else",
            "row if created else",
        ),
        (
            "a deletion that succeeded is believed",
            "observed=Observed.CREATED if created else Observed.DELETED",
            "observed=Observed.CREATED if created else Observed.ABSENT",
        ),
        (
            "a failed creation leaves nothing",
            "Observed.DOUBTFUL if created or row.may_come_true(now)",
            "Observed.DOUBTFUL if not row",
        ),
        (
            "a failure uses up no attempt",
            "created = _creating(row)\n    attempt = row.attempt + 1",
            "created = _creating(row)\n    attempt = row.attempt",
        ),
        (
            "what became of a forgotten operation is known",
            "return replace(row, creating_until=over, observed=Observed.DOUBTFUL)",
            "return replace(row, creating_until=over)",
        ),
        (
            "lists are believed right after a deletion",
            "return replace(row, request_id=None, deletion_ended=at)",
            "return replace(row, request_id=None)",
        ),
        (
            "AWS is read again at once when it cannot be read",
            "next_at=now + timing.back_off(2, jitter))",
            "next_at=now)",
        ),
        (
            "a refused deletion is repeated without a pause",
            "return _delete_refused(row, code, now=now, jitter=jitter, timing=timing)",
            "return replace(row, next_at=now)",
        ),
    ),
)
