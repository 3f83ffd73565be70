"""Mutants of whose turn it is: what people are told, the order, AWS's limits, and answers that are shared."""

from bench.mutations.mutant import of

MUTANTS = (
    *of(
        "domain",
        (
            "a creation does not wait for deletions",
            "deletions / pace.slots * pace.delete_s + (created_before",
            "0 * deletions + (created_before",
        ),
        ("one's own turn is not counted", "(before + 1) / pace.slots", "before / pace.slots"),
        (
            "creations have every slot, people are told",
            "(created_before + 1) / pace.grant_slots",
            "(created_before + 1) / pace.slots",
        ),
        ("minutes are promised that are over", "math.ceil(seconds / 60)", "math.floor(seconds / 60)"),
    ),
    *of(
        "reconcile",
        ("ends wait for older grants", "not one.urgent, self._rank(one))", "self._rank(one))"),
        ("looks come before work", "(one.only_looks, one is not starved", "(False, one is not starved"),
        ("a storm of ends keeps grants out for ever", "one is not starved, not", "not"),
        (
            "the slot of who waited longest is not kept for it",
            "firm=self._is_starved(due, now)",
            "firm=False",
        ),
        ("who waited long enough waits for a moment more", "since >= FAIR_AFTER", "since > FAIR_AFTER"),
        (
            "all creations have a share before ends",
            'due.call != "create" or self._slots.creating or',
            'due.call != "create" or',
        ),
        (
            "the share goes to an account that is busy",
            "or self._slots.works_in(due.account_id):",
            "or not due:",
        ),
        (
            "what waits is forgotten with each round",
            "self._waiting.get(key, one.next_at) for key, one in calls.items()",
            "one.next_at for key, one in calls.items()",
        ),
        ("a look waits for company without end", "due.next_at) < GATHERED_FOR", "due.next_at)"),
        (
            "each look waits for itself",
            "self._looks_since.get(due.pair, due.next_at) <",
            "due.next_at <",
        ),
        (
            "a grant waits for company",
            "if not due.only_looks or not self._slots",
            "if not self._slots",
        ),
        (
            "who is next where nothing was worked on goes before everybody",
            "(due.call, due.account_id) in self._crowded, due.pair in self._worked_on",
            "(due.call, due.account_id) in self._crowded, True",
        ),
        (
            "a crowded account is left for the end",
            "KEPT_FOR * (2 * crowded + worked_on)",
            "KEPT_FOR * worked_on",
        ),
        ("a list serves one alone", "KEPT_FOR * (2 * crowded + worked_on)", "KEPT_FOR * (2 * crowded)"),
        (
            "an account is worked on for ever",
            "self._worked_on.items() if now - at < KEPT_FOR}",
            "self._worked_on.items()}",
        ),
        ("AWS is read ahead again and again", "or due.id in self._looked or", "or"),
        (
            "AWS is read ahead for all who wait",
            "or self._passed_over[due.call] > LOOKED_AHEAD:",
            "or not due:",
        ),
        ("a round that gave slots away reads ahead", "if self._gave_slots or", "if"),
        (
            "what was read ahead is never read again",
            "if key in calls and now - at < KEPT_FOR}",
            "if key in calls}",
        ),
        ("how long operations take is never learnt", "self._took[kind].append(seconds)", "pass"),
    ),
    *of(
        "reconcile",
        (
            "an answer from before the question is shared",
            "listing is None or listing.sent or",
            "listing is None or",
        ),
        (
            "an end waits for the turn of a look",
            "or _before(priority, listing.priority):",
            "or _before(listing.priority, priority):",
        ),
        (
            "who stops waiting takes the answer from others",
            "return await asyncio.shield(listing.answer)",
            "return await listing.answer",
        ),
        (
            "an answer from before it was wanted counts",
            "kept is not None and wanted_since <= kept.asked_at and",
            "kept is not None and",
        ),
        (
            "an answer counts however old it is",
            "and self._now() - kept.asked_at < KEPT_FOR:",
            "and self._now():",
        ),
        ("an answer that calls for nothing ends it", 'if there == (operation == "revoke"):', "if kept:"),
        (
            "an answer is as new as its arrival",
            "self._keep(pair, _Kept(found, asked_at))",
            "self._keep(pair, _Kept(found, self._now()))",
        ),
        ("a list that failed is the answer from then on", "del self._listings[pair]", "pass"),
        (
            "access waits for company before it is taken away",
            "if listing.priority in _UNHURRIED:",
            "if listing.priority not in _UNHURRIED:",
        ),
        (
            "who was disabled is never noticed",
            "now - self._kept[key].asked_at < self._keep",
            "now - self._kept[key].asked_at",
        ),
        (
            "an answer from a clock that was set back is kept",
            "timedelta(0) <= now - self._kept[key].asked_at <",
            "now - self._kept[key].asked_at <",
        ),
        ("everybody is listed for one", "return 0 < calls < len(", "return calls < len("),
    ),
    *of(
        "reconcile",
        ("a burst reads its set at once and often", "async with known.turn:", "if known:"),
        (
            "a set that could not be read counts as read",
            "known.digest = await self._read_of_aws(set_arn)\n                known.read_at = now",
            "known.read_at = now\n                known.digest = await self._read_of_aws(set_arn)",
        ),
        (
            "a set read before the clock was set back is kept",
            "not timedelta(0) <= now - known.read_at < FRESH_FOR",
            "now - known.read_at >= FRESH_FOR",
        ),
    ),
    *of(
        ".",
        (
            "grants take the slots that are kept for ends",
            "creating < self.for_grants",
            "creating <= self.for_grants",
        ),
        ("one slot more than AWS has", "len(others) < self.total", "len(others) <= self.total"),
        (
            "an account has two operations",
            "slot.account_id == mine.account_id for slot in others",
            "slot.account_id == mine.account_id for slot in ()",
        ),
        (
            "a grant is sent beside an operation that is stuck",
            'if mine.kind == "delete":\n            others = [',
            "if mine:\n            others = [",
        ),
        (
            "an operation that is stuck holds up ends",
            "if mine.since - slot.since < STUCK_AFTER]",
            "if mine.since]",
        ),
        (
            "a grant that only waits holds up ends",
            'if kind == "create" or slot.kind == "delete" or slot.firm',
            "if slot",
        ),
        (
            "ends take the slot that was kept",
            ' or slot.kind == "delete" or slot.firm',
            ' or slot.kind == "delete"',
        ),
        (
            "a grant whose slot an end took is sent",
            "if mine is None or not self._room(mine, self._taken.values()):",
            "if mine is None:",
        ),
        (
            "a slot taken meanwhile is given away",
            "if self._changed.get(key, 0) > as_of or key in visiting:",
            "if key in visiting:",
        ),
        (
            "the slot of who is visited is given away",
            "if self._changed.get(key, 0) > as_of or key in visiting:",
            "if self._changed.get(key, 0) > as_of:",
        ),
        (
            "a slot is lost with what a crash forgot",
            "self._changed.get(key, 0) > as_of or",
            "self._changed.get(key, 0) >= as_of or",
        ),
        (
            "a slot that was freed meanwhile is taken again",
            "if self._taken.pop(assignment_id, None) is not None:",
            "if self._taken.pop(assignment_id, None) is None:",
        ),
        (
            "a reservation outlives its visit",
            "for key, slot in self._reserved.items() if key in visiting}",
            "for key, slot in self._reserved.items()}",
        ),
    ),
    *of(
        ".",
        (
            "throttles of one moment count one by one",
            "now - self._slowed_at < ONE_EVENT_S",
            "now - self._slowed_at < 0",
        ),
        (
            "a rate that was halved stays so",
            "return min(self._rate, self._slow_rate + regained)",
            "return min(self._rate, self._slow_rate)",
        ),
        (
            "a rate that recovers grows without end",
            "return min(self._rate, self._slow_rate + regained)",
            "return self._slow_rate + regained",
        ),
        (
            "a throttle leaves what was saved up",
            "self._tokens, self._filled_at = 0.0, now",
            "self._filled_at = now",
        ),
        (
            "a rate falls to nothing",
            "self._slow_rate = max(_SLOWEST, (self.rate or _SLOWEST) / 2)",
            "self._slow_rate = (self.rate or _SLOWEST) / 2",
        ),
        ("who came first goes first, whatever it is", "(PRIORITIES.index(priority), next(", "(0, next("),
        ("calls are saved up for hours", "min(max(1.0, rate), self._tokens +", "max(0.0, self._tokens +"),
        (
            "who comes late passes those who wait",
            "if not self._waiting and self._take_token():",
            "if self._take_token():",
        ),
        ("who gave up costs a turn", "self._tokens += 1  #", "self._tokens += 0  #"),
    ),
    *of(
        "identity_center",
        (
            "a reading is sent without the lease",
            "self._limiter.check(changes=operation.mutating)\n            try:",
            "try:",
        ),
        (
            "a change that was long signed is sent without the lease",
            "self._limiter.check(changes=True)",
            "pass",
        ),
        (
            "a throttle slows nobody down",
            "if error.problem is DriverProblem.THROTTLED:\n",
            "if error.problem is DriverProblem.NOT_FOUND:\n",
        ),
    ),
)
