"""Mutants of the inventory: what of a directory is believed, and what its parts make."""

from bench.mutations.mutant import of

MUTANTS = (
    *of(
        "domain",
        (
            "all of a kind may disappear where there are few",
            "if count == had[kind] or (count > _ALWAYS_BELIEVED",
            "if (count > _ALWAYS_BELIEVED",
        ),
        (
            "a large organisation holds what a few people are",
            "(count > _ALWAYS_BELIEVED and count > share * had[kind])",
            "count > _ALWAYS_BELIEVED",
        ),
        (
            "a small organisation cannot change",
            "(count > _ALWAYS_BELIEVED and count > share * had[kind])",
            "count > share * had[kind]",
        ),
        (
            "a share that is just allowed is held",
            "and count > share * had[kind])",
            "and count >= share * had[kind])",
        ),
        (
            "a handful who leave a group are held",
            "if _ALWAYS_BELIEVED < gone[group] == had[group]",
            "if _ALWAYS_BELIEVED <= gone[group] == had[group]",
        ),
        (
            "a group is emptied unnoticed",
            "if _ALWAYS_BELIEVED < gone[group] == had[group]",
            "if _ALWAYS_BELIEVED > gone[group] == had[group]",
        ),
        (
            "a reading that agrees a moment too late counts for nothing",
            "one.found_at + after <= read_at.get(",
            "one.found_at + after < read_at.get(",
        ),
        ("nobody can confirm what is gone", "if one.confirmed or one.found_at", "if one.found_at"),
        (
            "another API's reading agrees",
            "read_at.get(source_of(one.key), one.found_at)",
            "max(read_at.values(), default=one.found_at)",
        ),
        (
            "one API's loss holds up the others",
            "careful = {_SOURCES[kind] for kind in (*much,",
            "careful = set(_SOURCES.values()) if much else {_SOURCES[kind] for kind in (*much,",
        ),
        (
            "who is disabled waits for those who are held",
            '"enabled": before.enabled and after.enabled',
            '"enabled": before.enabled',
        ),
        (
            "who is enabled does not wait for those who are held",
            '"enabled": before.enabled and after.enabled',
            '"enabled": after.enabled',
        ),
        (
            "a suspended account waits for those that are held",
            'before.state if after.state == "ACTIVE" else after.state',
            "before.state",
        ),
        (
            "an account that was reopened does not wait for those that are held",
            'before.state if after.state == "ACTIVE" else after.state',
            "after.state",
        ),
        (
            "half a directory takes an account's protection away",
            "before.management or after.management",
            "after.management",
        ),
        (
            "half a directory takes a delegated administrator's protection away",
            "before.delegated_administrator or after.delegated_administrator",
            "after.delegated_administrator",
        ),
        (
            "half a directory lets people into groups",
            "members = (was & now if careful else now) | kept",
            "members = now | kept",
        ),
        (
            "who is held is not in their groups any more",
            "if stay & {_membership(group, user), *_ends(group, user)}",
            "if stay & {_membership(group, user)}",
        ),
        (
            "memberships of people who are gone count as left",
            "{key for key in left if not absent & set(_ends_of(key))}",
            "left",
        ),
        ("what cannot be read has disappeared", "gone - set(withheld)", "gone"),
        (
            "what is confirmed is held",
            "_lost(before, after, directory.withheld) - frozenset(believed)",
            "_lost(before, after, directory.withheld)",
        ),
        ("a hold is named after its order", '"\\n".join(sorted(keys))', '"\\n".join(keys)'),
        (
            "what a set allows waits for sets that are held",
            "return after if isinstance(before, doc.PermissionSet) else before",
            "return before",
        ),
    ),
    *of(
        "domain",
        (
            "the directory is as new as its newest list",
            "read_at[source] = min(part.read_at,",
            "read_at[source] = max(part.read_at,",
        ),
        (
            "one old detail makes the directory old",
            "if part.kind not in DETAILS:\n            source",
            "if part.kind:\n            source",
        ),
        (
            "an account is published without its tags",
            "if tags is None or chain is None:",
            "if chain is None:",
        ),
        (
            "an account is published without its units",
            "if tags is None or chain is None:",
            "if tags is None:",
        ),
        (
            "an account in a unit that nobody knows is published",
            "return chain if chain and all(unit in units for unit in chain) else None",
            "return chain or None",
        ),
        (
            "a group is published before its members",
            "        if members is None:\n            withheld[group.key] = None\n",
            "        if members is None:\n            found.append(group)\n",
        ),
        (
            "a set that is not read yet has disappeared",
            'for arn in arns(parts) if ("set", arn) not in parts}',
            "for arn in arns(parts) if not arn}",
        ),
        (
            "a row that cannot be read has disappeared",
            "**dict.fromkeys(left_out),",
            "",
        ),
        (
            "a missing unit is looked for everywhere",
            "if above in known and unit not in known:",
            "if above in known:",
        ),
        (
            "what is overdue waits for its slice",
            "known[: max(due, overdue)]",
            "known[: max(due, 0)]",
        ),
        (
            "a reading that goes on begins its slice anew",
            " - len(set(keys) & set(done))",
            "",
        ),
        (
            "the newest details are read again",
            "key=lambda key: (parts[key].read_at, key))",
            "key=lambda key: (parts[key].read_at, key), reverse=True)",
        ),
        (
            "an account is in its own unit only",
            "and found.parent is not None:\n        chain.insert(0, found.parent)",
            "and found.parent is None:\n        chain.insert(0, found.parent)",
        ),
    ),
)
