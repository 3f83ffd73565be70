"""Mutants of whose a sign-in is, of pauses, and of what people are told."""

from bench.mutations.mutant import of

MUTANTS = (
    *of(
        "domain",
        (
            "a killed pair of the subject still binds",
            "if one.sub == seen.sub and not one.killed), None)",
            "if one.sub == seen.sub), None)",
        ),
        (
            "a killed pair of the user still binds",
            "if one.user_id == seen.user_id and not one.killed), None)",
            "if one.user_id == seen.user_id), None)",
        ),
        (
            "a killed subject comes back",
            "if any(of_subject is None or one.user_id == seen.user_id for one in killed):",
            "if any(one.user_id == seen.user_id for one in killed):",
        ),
        (
            "a killed pair comes back",
            "if any(of_subject is None or one.user_id == seen.user_id for one in killed):",
            "if any(of_subject is None for one in killed):",
        ),
        (
            "one rebinds one's own sign-in away from oneself",
            "in {found.user_id, found.against.bound_user_id}",
            "in {found.user_id}",
        ),
        (
            "nobody can object to a rebinding",
            "quiet_until = origin.at + QUIET_FOR",
            "quiet_until = origin.at",
        ),
        (
            "a conflict is settled twice",
            "if found.settled_at is not None:",
            "if found.settled_at is found.against:",
        ),
        (
            "a conflict is settled although the world has changed",
            "if first_sight(seen, held) != found.against:",
            "if first_sight(seen, held) is None:",
        ),
        (
            "a disabled user is rebound",
            "[(one.id, one.enabled) for one in named] != [(found.user_id, True)]",
            "[one.id for one in named] != [found.user_id]",
        ),
    ),
    *of(
        "domain",
        (
            "pauses grow without end",
            "min(self.back_off_first * 2 ** min(attempt, 10), self.back_off_longest)",
            "self.back_off_first * 2 ** min(attempt, 10)",
        ),
        (
            "the last look comes too early to prove anything",
            "return self.settle_time / max(1, self.settle_checks - 1)",
            "return self.settle_time / max(1, self.settle_checks)",
        ),
    ),
    *of(
        "domain",
        (
            "AWS's own words are told to people",
            "return _SENTENCES.get(code,",
            "return _SENTENCES.get(code, code) or (",
        ),
    ),
)
