"""Mutants of what carries decisions out."""

from bench.mutations.mutant import of

MUTANTS = (
    *of(
        "reconcile",
        (
            "an engine without the lease works",
            "if not self.parts.lease.may_change:\n            return _STANDBY_S",
            "",
        ),
        (
            "a nudged engine without the lease works",
            "ids, self._named = self._named, set()\n        if self.parts.lease.may_change:",
            "ids, self._named = self._named, set()\n        if ids:",
        ),
        (
            "what broke is repeated at once",
            "or self._held_back.get(due.id, now) > now:",
            "or self._held_back.get(due.id, now) < now:",
        ),
        ("visits are without number", "if alike >= self._concurrency or (due", "if (due"),
        (
            "revokes wait for a place among the grants",
            "alike = sum(visit.urgent == due.urgent for visit in self._visits.values())",
            "alike = len(self._visits)",
        ),
        (
            "the slot of a call in flight is given away",
            "if not in_flight:\n                self.slots.release(assignment_id)",
            "self.slots.release(assignment_id)",
        ),
        (
            "polls come as fast as rounds",
            "return max(early_s, asked_at + self._every_s(kind, ends_wait=ends_wait) - now, 0.0)",
            "return max(early_s, 0.0)",
        ),
        (
            "polls come before anything can have ended",
            "return max(early_s, asked_at + self._every_s(kind, ends_wait=ends_wait) - now, 0.0)",
            "return max(asked_at + self._every_s(kind, ends_wait=ends_wait) - now, 0.0)",
        ),
        ("looks wait without end", "min(len(looks) * every_s, LOOKS_WITHIN_S)", "len(looks) * every_s"),
        (
            "a call that is just being sent is polled",
            "[flight for flight in flights if flight.id not in visited]",
            "list(flights)",
        ),
        (
            "what cannot be worked on tells nobody",
            'await self.parts.context.alerts.raise_alert(\n                key=f"visit/',
            'dict(\n                key=f"visit/',
        ),
    ),
    *of(
        "reconcile",
        (
            "a group's assignment counts as the user's",
            'Seen(AwsPrincipal("USER", assignment.user_id) in principals',
            "Seen(bool(principals)",
        ),
        (
            "the last looks come before the work",
            "if assignment.closed_at is not None and not beginning:",
            "if assignment.closed_at is None and not beginning:",
        ),
        (
            "what a creation may have made waits behind grants",
            "made = assignment.ours and assignment.observed in _PERHAPS_MADE",
            "made = False",
        ),
        (
            "a look before a deletion waits for those after one",
            'return "verify" if assignment.observed in {Observed.DELETED, Observed.ABSENT} else "revoke"',
            'return "verify"',
        ),
        (
            "a disabled user counts as enabled",
            "Live(user.enabled if user else None,",
            "Live(True if user else None,",
        ),
        (
            "user and account are not asked after before a grant",
            "if beginning:\n        principals, live",
            "if not assignment:\n        principals, live",
        ),
    ),
    *of(
        "reconcile",
        (
            "an answer is saved over what came after it",
            "if before.op != op:\n                    continue",
            "if before.op != op:\n                    pass",
        ),
        (
            "what is still in flight leaves its slot",
            "if after.op is None:\n                    over",
            "if after:\n                    over",
        ),
    ),
    *of(
        "reconcile",
        (
            "a lost request is never looked for",
            "return await _find(parts, flight, listed, ours)",
            "return _outcome(parts, None)",
        ),
        (
            "somebody else's request is taken for the lost one",
            "if described.key == wanted:",
            "if described.key:",
        ),
        (
            "what is in progress counts as forgotten",
            "return _Listed(newest | (outstanding or {}), whole",
            "return _Listed(newest, whole",
        ),
        (
            "what is lost is forgotten though nobody said what is in progress",
            "if not listed.whole:\n        return None",
            "if not listed:\n        return None",
        ),
        (
            "an operation that does not end tells nobody",
            "< parts.timing.operation_patience:",
            ">= parts.timing.operation_patience:",
        ),
        (
            "the alert of an operation that ended stays",
            'await parts.context.alerts.clear(f"operation/{flight.op.request_id}")',
            "pass",
        ),
        (
            "what was found out is lost with the next failure",
            "error=str(error))\n            continue",
            "error=str(error))\n            raise",
        ),
        (
            "a failure counts as success",
            'if request.status == "SUCCEEDED":',
            'if request.status != "IN_PROGRESS":',
        ),
    ),
    *of(
        "reconcile",
        (
            "a call that may have been taken counts as refused",
            "return _lost(parts, error) if error.ambiguous else _refused(parts, error)",
            "return _refused(parts, error)",
        ),
        (
            "a creation is sent that nobody wants any more",
            "if not await claims.any_holds(conn, assignment_id, now=parts.now):",
            "if await claims.any_holds(conn, 0, now=parts.now):",
        ),
        (
            "a call that the lease kept back counts as perhaps sent",
            "except (NoLongerWanted, LeaseLost):",
            "except NoLongerWanted:",
        ),
        (
            "a creation that was not sent counts as accepted",
            "return partial(call_outcomes.not_sent, now=parts.now)",
            'return partial(call_outcomes.lost, error="", now=parts.now, timing=parts.timing)',
        ),
    ),
    *of(
        "reconcile",
        (
            "one look more before somebody is told",
            "if times < UNREAD_BEFORE_ALERT:",
            "if times <= UNREAD_BEFORE_ALERT:",
        ),
        (
            "failures long past count",
            "if self._times.pop(row.id, 0) >= UNREAD_BEFORE_ALERT:",
            "if self._times.get(row.id, 0) >= UNREAD_BEFORE_ALERT:",
        ),
    ),
    *of(
        "reconcile",
        (
            "a second call is decided on while one is in flight",
            "if before.op is not None:\n            return None",
            "",
        ),
        (
            "a claim begins without a slot to make it",
            "seen.found or may_send or not needs_slot",
            "bool(seen)",
        ),
        (
            "the re-check does not hear AWS",
            "recheck(claim, known[claim.id], live)",
            "recheck(claim, known[claim.id], None)",
        ),
        (
            "who waits for a slot begins anew at the end of the line",
            "again = origin.at + later if later else min(before.next_at or origin.at, origin.at)",
            "again = origin.at + later",
        ),
        (
            "groups of others are told as the user's",
            "tuple(sorted(seen.groups & groups))",
            "tuple(sorted(seen.groups))",
        ),
        (
            "the alert of what can be read again stays",
            "await parts.unread.succeeded(parts.context.alerts, assignment)",
            "pass",
        ),
        (
            "what cannot be read tells nobody",
            "await parts.unread.failed(parts.context.alerts, assignment, error)",
            "pass",
        ),
        ("a call is made without its slot", "may_send=take_slot())", "may_send=True)"),
    ),
)
