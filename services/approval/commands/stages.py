"""A review goes on to the stage that has to wait for votes: last step of its opening, a vote or a refresh.

What a stage's approvers are told besides the ticket is read here, and only where a stage opens.
"""

from services.approval.domain.lifecycle import open_stage
from services.approval.domain.review import Electorate, Review
from services.approval.store import history
from shared.contracts.change import Change, Origin
from shared.database.unit_of_work import UnitOfWork


async def open_next_stage(
    work: UnitOfWork, change: Change[Review], electorate: Electorate, origin: Origin
) -> Change[Review]:
    """Open the stage that has to wait and does not yet, if there is one. Nothing is saved."""
    number = change.state.stage_to_open(electorate)
    if number is None:
        return change
    background = await history.load(work.conn, change.state.subject, now=origin.at)
    return open_stage(change, number, electorate, background, origin)
