"""Facts of the notifier: what was sent to whom, without the text of it.

One fact lists the mails that were settled together, are about the same events, of one kind and one attempt,
and got the same answer: what it says is true of each of them.
"""

from typing import ClassVar

from pydantic import AwareDatetime

from shared.contracts.event import About, Contract, Event


class Mail(Contract):
    """A mail of its own to one person: nobody sees who else got one."""

    recipient: str
    """Identity Store user id."""
    address: str | None
    """None where no usable one was known."""
    message_id: str
    at: AwareDatetime
    """When it was sent or given up."""


class NotificationFact(Event):
    ticket_id: str | None
    """None of a mail about no ticket; `subject` is then the id of its recipient, who is the only one."""
    event_ids: tuple[str, ...]
    """The events that each of the mails is about, in the order in which they happened."""
    template: str
    attempts: int
    """How often each of the mails was tried."""
    mails: tuple[Mail, ...]
    """One or more, by recipient."""

    @property
    def about(self) -> About:
        """Whoever was mailed is no party of the ticket by that."""
        recipients = tuple(sorted({mail.recipient for mail in self.mails}))
        return About(self.ticket_id, addressee_ids=recipients)


class NotificationSent(NotificationFact):
    TYPE: ClassVar[str] = "notification.sent.v1"


class NotificationFailed(NotificationFact):
    """Given up: the address does not exist, the server refuses for good, or time ran out."""

    TYPE: ClassVar[str] = "notification.failed.v1"

    smtp_code: int | None = None
    detail: str = ""
