"""Facts of the notifier: what was sent to whom, without the text of it."""

from typing import ClassVar

from shared.contracts.event import About, Event


class NotificationFact(Event):
    ticket_id: str | None
    """None of a mail about no ticket; `subject` is then its recipient's id."""
    event_ids: tuple[str, ...]
    """The events the mail is about, in the order in which they happened."""
    recipient: str
    """Identity Store user id."""
    address: str | None
    template: str
    message_id: str

    @property
    def about(self) -> About:
        return About(self.ticket_id)


class NotificationSent(NotificationFact):
    TYPE: ClassVar[str] = "notification.sent.v1"

    attempts: int


class NotificationFailed(NotificationFact):
    """Given up: the address does not exist, or the server refuses for good."""

    TYPE: ClassVar[str] = "notification.failed.v1"

    smtp_code: int | None = None
    detail: str = ""
