"""The mail that tells a person that their sign-in is another one now. Pure."""

from services.notifier.domain.content import (
    AUTHORIZATION,
    Addresses,
    Content,
    Documents,
    passage,
    row,
    section,
    utc,
    who_is,
)
from shared.contracts.identity import IdentityRebound

_LEAD = (
    "An administrator has bound the sign-in below to the user below, and what was bound before is over for "
    "ever. If nobody has talked to you about it, somebody may be getting in under your name: call your "
    "administrators now, by another way than this mail."
)


def rebound(event: IdentityRebound, documents: Documents, addresses: Addresses) -> Content:
    """To whom the sign-in belongs now, and to whom it belonged."""
    before = who_is(event.bound_user_id, documents) if event.bound_user_id else None
    return Content(
        subject="[JIT] Your sign-in was replaced",
        headline="Sign-in replaced",
        lead=_LEAD,
        sections=(
            section(
                "Sign-in",
                [
                    row("User", who_is(event.user_id, documents)),
                    row("Issuer", event.iss),
                    row("Subject", event.sub),
                    row("Bound before to", before) if before else None,
                    row("Subject before", event.bound_sub) if event.bound_sub else None,
                    row("By", event.actor.name),
                    passage("Why", event.why),
                    row("At", utc(event.at)),
                    row("Votes and administration", f"not before {utc(event.quiet_until)}"),
                ],
            ),
        ),
        tone="bad",
        how_to="Who JIT takes you for, over the API with your own token:",
        commands=(f"GET {addresses.api.rstrip('/')}/v1/me", AUTHORIZATION),
    )
