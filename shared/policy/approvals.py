"""Does an approval hold under this replica's own policy? Asked before anything is done because of one.

Pure: the approval service says who voted; whether those votes are enough is decided here again from the
documents and the directory, so that its word alone opens nothing. A snapshot says who may
(snapshot.py).
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from shared.contracts.approval import Stage, Vote
from shared.policy.rows import approve_verb
from shared.policy.snapshot import Snapshot


def approval_problem(
    snapshot: Snapshot,
    *,
    votes: Sequence[Vote],
    auto_approved_by: str | None,
    parties: Collection[str],
    account_id: str,
    set_id: str,
    duration: timedelta,
    now: datetime,
) -> str | None:
    """Why an approval does not hold; None when it does.

    `parties` are the user ids of requester and beneficiaries, `duration` is the length from the submit on.
    The snapshot must be complete: one that is not denies everything, and so would this.
    """
    choice = snapshot.rules_for(account_id, set_id, duration)
    if auto_approved_by is not None:
        if auto_approved_by == choice.auto_approved_by:
            return None
        return f"rule {auto_approved_by} does not approve this account, set and length without a vote"
    if not choice.stages:
        return "no approval rule asks for votes on this account, set and length"
    counting = _counting([one for one in votes if not _was_quiet(snapshot, one)], parties)
    for position, stage in enumerate(choice.stages, start=1):
        voters = [voter for voter, voted_in in counting.items() if voted_in == position]
        verb = approve_verb(stage.rule_id, stage.index)
        allowed = sum(
            snapshot.may(voter, verb, account_id, set_id, duration=duration, now=now).allowed
            for voter in voters
        )
        if allowed < stage.needed:
            return _too_few(stage, position, len(choice.stages), allowed)
    return None


def _counting(votes: Sequence[Vote], parties: Collection[str]) -> dict[str, int]:
    """Who approved, and in which stage: a person once, in no stage twice, nobody who also said no."""
    refused = {vote.voter.user_id for vote in votes if vote.verdict == "reject"}
    counting: dict[str, int] = {}
    for vote in votes:
        # Nobody votes for another: such a vote is nobody's.
        if vote.verdict == "approve" and vote.acting_for is None:
            counting.setdefault(vote.voter.user_id, vote.stage)
    return {user: stage for user, stage in counting.items() if user not in refused and user not in parties}


def _was_quiet(snapshot: Snapshot, vote: Vote) -> bool:
    """Whether the voter had just been bound to another sign-in; what they voted before that stands."""
    return snapshot.sign_ins.quiet_until(vote.voter.user_id, vote.at) is not None


def _too_few(stage: Stage, position: int, stages: int, allowed: int) -> str:
    return (
        f"stage {position} of {stages} (rule {stage.rule_id}) needs {stage.needed} approvals "
        f"and has {allowed} by people who may give them"
    )
