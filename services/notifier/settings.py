"""Settings of the notifier."""

from collections.abc import Iterator
from datetime import timedelta
from email.utils import parseaddr
from typing import Any, Self

from pydantic import Field, model_validator

from shared.foundation.addresses import address_problem
from shared.foundation.environment import load
from shared.foundation.settings import ServiceSettings


class NotifierSettings(ServiceSettings):
    """Read from `JIT_*`; the shared ones, `JIT_SMTP_*` among them, are in shared/foundation/settings.py."""

    message_domain: str = Field(default="jit", pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,200}[A-Za-z0-9])?$")
    """Right side of every Message-ID and of the List-Id. Changing it starts new threads in mailboxes."""
    pages_url: str | None = Field(default=None, pattern=r"^https?://[^\s/]+")
    """Where the pages are that people open, at `/tickets/<id>` and `/reviews/<id>`; mails link to them.
    Absent, since JIT has no pages yet: mails then name ids and API calls, and no link leads nowhere."""
    mail_gather: timedelta = Field(default=timedelta(seconds=5), ge=timedelta(0))
    """How long a mail waits for further facts of its kind about the same ticket; each that comes starts the
    wait anew. A ticket of many targets is decided and granted target by target, seconds apart. A mail to
    which nothing can be added does not wait."""
    mail_gather_longest: timedelta = Field(default=timedelta(seconds=60), ge=timedelta(0))
    """Longest wait of that kind, from the first fact on: people want to know when their access begins."""
    mail_workers: int = Field(default=2, ge=1, le=20)
    """Mails sent at once, each over its own connection: one slow answer does not hold up everybody."""
    mail_check_every: timedelta = Field(default=timedelta(seconds=5), gt=timedelta(0))
    """How often is looked for mail that no nudge announced: due again, gathered, or of another replica."""
    mail_send_within: timedelta = Field(default=timedelta(seconds=60), gt=timedelta(0))
    """Longest time for one attempt, connection included. Its lease is half as long again, so that no
    second sender can take a row while the first may still be talking."""
    mail_first_delay: timedelta = Field(default=timedelta(seconds=10), gt=timedelta(0))
    """Pause after the first refusal "try later"; doubled each time. Grey-listing lifts within minutes."""
    mail_longest_delay: timedelta = Field(default=timedelta(minutes=15), gt=timedelta(0))
    """Where the doubling ends."""
    mail_give_up_after: timedelta = Field(default=timedelta(hours=24), gt=timedelta(0))
    """From writing to giving up: an access lasts a day at most, so later news would be no news."""
    mail_hold: timedelta = Field(default=timedelta(minutes=2), gt=timedelta(0))
    """How long a fact that came before its ticket waits for it; then its mail says less, but is sent."""

    @property
    def sends_mail(self) -> bool:
        return True

    @property
    def mail_lease(self) -> timedelta:
        return self.mail_send_within * 1.5

    def unfit(self) -> Iterator[str]:
        yield from super().unfit()
        if self.pages_url and (problem := address_problem(self.pages_url)):
            yield f"JIT_PAGES_URL: {problem}; mails link there"

    @model_validator(mode="after")
    def _check_sender(self) -> Self:
        """A sender nobody accepts would make every mail undeliverable; better not to start."""
        if "@" not in parseaddr(self.smtp.sender)[1]:
            raise ValueError("JIT_SMTP_SENDER is not a mail address")
        return self


def load_settings(**given: Any) -> NotifierSettings:
    return load(NotifierSettings, **given)
