"""Mutants of what claims are, how they move, and who is alarmed by it."""

from bench.mutations.mutant import of

MUTANTS = (
    *of(
        "domain",
        (
            "extensions that broke alarm nobody",
            "if fact.code not in _EXTENSION:",
            "if fact.code in _EXTENSION:",
        ),
        (
            "a failed grant alarms nobody",
            "if fact.cause_of_end == EndCause.FAILED:",
            "if fact.cause_of_end is None:",
        ),
        (
            "an end after a grant alarms",
            "EndCause.EXPIRED and claim.granted_at is None:",
            "EndCause.EXPIRED:",
        ),
        ("what ended alarms again", "if claim.end_cause is not None:\n        return None", ""),
        ("a missing witness alarms as a failed grant", "if fact.code in _BY_APPROVAL:", "if not fact.code:"),
    ),
    *of(
        "domain",
        (
            "a window holds at its end",
            "self.starts_at <= now < self.ends_at",
            "self.starts_at <= now <= self.ends_at",
        ),
        (
            "a window does not hold at its start",
            "self.starts_at <= now < self.ends_at",
            "self.starts_at < now < self.ends_at",
        ),
        (
            "a claim holds before its re-check",
            "return self.state in ASKED and now < self.ends_at",
            "return self.state in OPEN and now < self.ends_at",
        ),
        (
            "a claim holds after its window",
            "return self.state in ASKED and now < self.ends_at",
            "return self.state in ASKED",
        ),
        (
            "an extension need not be judged",
            "approval_holds=False,\n            parties",
            "approval_holds=True,\n            parties",
        ),
        (
            "an extension is judged by its own length",
            "duration_asked=extension.ends_at - self.starts_at",
            "duration_asked=extension.ends_at - self.ends_at",
        ),
        (
            "who asked for an extension may vote on it",
            "{*self.parties, extension.requester}",
            "{*self.parties}",
        ),
        (
            "an extended claim is vouched for by the first approval",
            "if self.extension_id is not None:",
            "if self.extension_id is None:",
        ),
        (
            "active access is revoked without a deletion",
            "_S.ACTIVE: {_S.REVOKING},",
            "_S.ACTIVE: {_S.REVOKING, _S.REVOKED},",
        ),
        ("a failed claim comes back", "_S.FAILED: set[ClaimState](),", "_S.FAILED: {_S.SCHEDULED},"),
    ),
    *of(
        "domain",
        (
            "an end by time counts from when it was noticed",
            "ended_at = claim.ends_at if cause == EndCause.EXPIRED else origin.at",
            "ended_at = origin.at",
        ),
        (
            "credentials end with the window",
            "until = claim.ends_at + claim.session_duration",
            "until = claim.ends_at",
        ),
        (
            "credentials of a late revoke end too early",
            "until = max(absent_first, ended_at) + claim.session_duration",
            "until = ended_at + claim.session_duration",
        ),
        (
            "overdue is said again and again",
            "or claim.overdue_at is not None:",
            "or claim.overdue_at == origin.at:",
        ),
        (
            "what is over is extended",
            "or not origin.at < claim.ends_at < extension.ends_at:",
            "or not claim.ends_at < extension.ends_at:",
        ),
        (
            "an end moves forward",
            "or not origin.at < claim.ends_at < extension.ends_at:",
            "or not origin.at < claim.ends_at:",
        ),
        (
            "credentials are told of what was not granted yet",
            "credentials_until=until if claim.granted_at else None,",
            "credentials_until=until,",
        ),
        (
            "access that AWS showed too late is not remembered",
            "seen_at = claim.seen_at or (origin.at if seen else None)",
            "seen_at = claim.seen_at",
        ),
        (
            "credentials of access that was shown too late are not told",
            "until = gone_at + claim.session_duration if claim.seen_at else None",
            "until = None",
        ),
        (
            "extensions of an ended claim wait for ever",
            "return Change(due, (fact,)).then(_fail_extensions(due, origin))",
            "return Change(due, (fact,))",
        ),
        (
            "what AWS was asked for is refused",
            "if claim.state not in {ClaimState.WAITING, ClaimState.SCHEDULED}:",
            "if claim.state is ClaimState.ACTIVE:",
        ),
        (
            "what AWS was asked for fails at its end without a revoke",
            "asked = claim.state in ASKED",
            "asked = claim.state is ClaimState.ACTIVE",
        ),
        (
            "a revoke is said of what was never granted",
            "return _fail(claim, origin, gone_at=absent_first)",
            "pass",
        ),
        (
            "a release is said of what was never granted",
            "return _fail(claim, origin, gone_at=origin.at, kept_by=kept_by)",
            "pass",
        ),
        (
            "any state follows any other",
            "if to not in TRANSITIONS[claim.state]:",
            "if to not in TRANSITIONS:",
        ),
    ),
    *of(
        "domain",
        (
            "votes that could not be judged count as enough",
            "approval_holds=isinstance(holds, Passed)",
            "approval_holds=True",
        ),
        ("votes are not judged", "for verdict in (same, holds):", "for verdict in (same,):"),
        ("a witness of something else is taken", "for verdict in (same, holds):", "for verdict in (holds,):"),
    ),
    *of(
        "domain",
        (
            "a missing witness fails an extension at once",
            "overdue = extension.received_at <= waiting.overdue",
            "overdue = extension.received_at >= waiting.overdue",
        ),
        (
            "an extension comes in time at the end itself",
            "if now >= claim.ends_at:",
            "if now > claim.ends_at:",
        ),
        (
            "an extension to the same end is carried out",
            "if extension.ends_at <= claim.ends_at:",
            "if extension.ends_at < claim.ends_at:",
        ),
        (
            "an extension of another revision is carried out",
            "if extension.revision != claim.revision:",
            "if extension.revision < claim.revision:",
        ),
        (
            "an extension stands on an approval that nobody judged",
            "claim.state is ClaimState.SCHEDULED and claim.approval_holds",
            "claim.state is ClaimState.SCHEDULED",
        ),
    ),
    *of(
        "domain",
        (
            "what was to end is said to be kept by itself",
            "in assignment.in_state(*ASKED) if claim.id not in ended)",
            "in assignment.in_state(*ASKED))",
        ),
        ("what is not ours is not said to remain", "kept_by = (*kept_by, NOT_OURS)", "kept_by = (*kept_by,)"),
    ),
)
