"""Persons as facts name them: by Identity Store user id, with what a reader needs to recognise them."""

from shared.contracts.event import Contract


class Person(Contract):
    """A snapshot of an Identity Store user. Only `user_id` identifies; the rest is for reading."""

    user_id: str
    user_name: str
    display_name: str = ""
    email: str | None = None
