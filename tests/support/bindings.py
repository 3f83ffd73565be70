"""Bindings as the provisioner would have published them."""

from datetime import datetime, timedelta

from shared.contracts.documents import Binding, binding_id

ISSUER = "https://idp.example.com"
DAY = timedelta(hours=24)


def binding(sub: str, user_id: str, *, at: datetime, iss: str = ISSUER) -> Binding:
    """Made at first sight."""
    return Binding(id=binding_id(iss, sub), iss=iss, sub=sub, user_id=user_id, bound_at=at)


def rebound(sub: str, user_id: str, *, at: datetime, iss: str = ISSUER) -> Binding:
    """Made by an administrator: its user is quiet for a day."""
    return binding(sub, user_id, at=at, iss=iss).model_copy(update={"quiet_until": at + DAY})
