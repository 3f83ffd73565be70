"""Persons as facts name them: by Identity Store user id, with what a reader needs to recognise them."""

from typing import Self

from shared.contracts.documents import User
from shared.contracts.event import Contract


class Person(Contract):
    """A snapshot of an Identity Store user. Only `user_id` identifies; the rest is for reading."""

    user_id: str
    user_name: str
    display_name: str = ""
    email: str | None = None

    @classmethod
    def of(cls, user: User) -> Self:
        return cls(
            user_id=user.id, user_name=user.user_name, display_name=user.display_name, email=user.email
        )
