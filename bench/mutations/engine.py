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
        ("visits are without number", "full = alike >= self._concurrency", "full = False"),
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
            "if flights and not polling and not early:",
            "if flights and not polling:",
        ),
        ("looks wait without end", "min(looks * every_s, LOOKS_WITHIN_S)", "looks * every_s"),
        (
            "a call that is just being sent is polled",
            "[flight for flight in flights if flight.id not in self._visits]",
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
        ("an answer is saved over what came after it", "if before.op == op:", "if before:"),
        (
            "a throttle slows nobody down",
            "if error.problem is DriverProblem.THROTTLED:",
            "if error.problem is DriverProblem.NOT_FOUND:",
        ),
    ),
    *of(
        "reconcile",
        (
            "a lost request is never looked for",
            "return await _find(parts, flight, outstanding, ours)",
            "return _outcome(parts, None)",
        ),
        (
            "somebody else's request is taken for the lost one",
            "if described.key == wanted:",
            "if described.key:",
        ),
        (
            "what is in progress counts as forgotten",
            "if any(request.request_id == request_id for request in outstanding):",
            "if not outstanding:",
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
            "await _save(parts, found)\n    if failure is not None:\n        raise failure",
            "if failure is not None:\n        raise failure\n    await _save(parts, found)",
        ),
        (
            "a failure counts as success",
            'if request.status == "SUCCEEDED":',
            'if request.status != "IN_PROGRESS":',
        ),
        (
            "throttled polls slow nobody down",
            "except DriverError as error:\n            parts.slow_down_if_throttled(error)",
            "except DriverError:\n            pass",
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
            "throttled calls slow nobody down",
            "parts.slow_down_if_throttled(error)\n        return _lost",
            "return _lost",
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
        ("a claim begins without a slot to make it", "(seen.found or may_send)", "bool(seen)"),
        (
            "the re-check does not hear AWS",
            "recheck(claim, known[claim.id], live)",
            "recheck(claim, known[claim.id], None)",
        ),
        (
            "throttled looks slow nobody down",
            "parts.slow_down_if_throttled(error)\n    unreadable",
            "unreadable",
        ),
        (
            "what waits for the policy spins",
            "again = origin.at if live is not None else origin.at + parts.timing.policy_retry",
            "again = origin.at",
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
