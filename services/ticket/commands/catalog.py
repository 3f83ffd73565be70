"""The catalogue: registered accounts and sets, set groups, access scopes, and the facts that tell of them."""

from shared.configuration import changes
from shared.configuration.changes import Told
from shared.context import Context
from shared.contracts import configuration as facts
from shared.contracts.documents import AccessScope, Document, RegisteredAccount, RegisteredSet, SetGroup
from shared.http.access import Caller
from shared.http.conditions import Precondition
from shared.http.idempotency import Answer

TOLD: dict[type[Document], Told] = {
    RegisteredAccount: Told(facts.AccountRegistered, facts.AccountChanged, facts.AccountRemoved),
    RegisteredSet: Told(facts.SetRegistered, facts.SetChanged, facts.SetRemoved),
    SetGroup: Told(facts.SetGroupRegistered, facts.SetGroupChanged, facts.SetGroupRemoved),
    AccessScope: Told(facts.ScopeRegistered, facts.ScopeChanged, facts.ScopeRemoved),
}


async def put(
    context: Context, caller: Caller, document: Document, condition: Precondition, *, name: str
) -> Answer:
    """Create or replace one document. A replacement needs the ETag that was read."""
    return await changes.put(context, caller, document, condition, told=TOLD[type(document)], name=name)


async def remove(
    context: Context, caller: Caller, cls: type[Document], document_id: str, condition: Precondition
) -> Answer:
    """Take one document out for ever."""
    return await changes.remove(context, caller, cls, document_id, condition, told=TOLD[cls])
