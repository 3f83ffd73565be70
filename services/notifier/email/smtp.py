"""Hands mails to the SMTP server and says what became of them. The one place that knows SMTP's errors.

A connection is kept for the next mail until it breaks. Never called while a transaction is open.
"""

import asyncio
from datetime import timedelta
from email.utils import parseaddr

import aiosmtplib

from services.notifier.domain.delivery import Accepted, Deferred, Outcome, Refused
from shared.foundation.settings import SmtpSettings
from shared.foundation.smtp import smtp_client


class Mailer:
    """One connection to the mail server, used by one sender at a time."""

    def __init__(self, smtp: SmtpSettings, *, within: timedelta) -> None:
        self._smtp = smtp
        self._within = within.total_seconds()
        self._client: aiosmtplib.SMTP | None = None

    async def send(self, message: bytes, address: str) -> Outcome:
        """Send to this one address. Ends within the time given, whatever the server does."""
        try:
            async with asyncio.timeout(self._within):
                return await self._send(message, address)
        except TimeoutError:  # also aiosmtplib's, and perhaps after the server took the mail
            self._drop()
            return Deferred("the mail server did not answer in time", server=True)
        except (aiosmtplib.SMTPException, OSError) as error:
            self._drop()
            return Deferred(
                f"no conversation with the mail server: {_describe(error)}",
                code=error.code if isinstance(error, aiosmtplib.SMTPResponseException) else None,
                server=True,
            )
        except BaseException:
            self._drop()  # cancelled in mid-sentence: the connection cannot be used again
            raise

    async def close(self) -> None:
        """Say goodbye if connected; a server that does not answer is left."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            await client.quit(timeout=2)
        except (aiosmtplib.SMTPException, OSError):
            client.close()

    async def _send(self, message: bytes, address: str) -> Outcome:
        """The table of answers.

        What is said before a recipient is named (greeting, login, sender) is about our server and our
        settings, never about this mail: it propagates, and is tried again.
        """
        client = await self._connected()
        options = [] if message.isascii() else ["SMTPUTF8", "BODY=8BITMIME"]
        if options and client.is_ehlo_or_helo_needed:
            await client.ehlo()  # asks what the server can do, before any mail does
        if options and not client.supports_extension("smtputf8"):
            return Refused("the mail server cannot take this address: it does not know SMTPUTF8")
        try:
            await client.sendmail(parseaddr(self._smtp.sender)[1], [address], message, mail_options=options)
        except aiosmtplib.SMTPRecipientsRefused as error:
            refusal = error.recipients[0]
            return _judge(refusal.code, refusal.message)
        except aiosmtplib.SMTPDataError as error:
            return _judge(error.code, error.message)
        except ValueError as error:
            return Refused(f"the address cannot be used: {error}")
        return Accepted()

    async def _connected(self) -> aiosmtplib.SMTP:
        if self._client is not None and self._client.is_connected:
            return self._client
        self._drop()
        client = smtp_client(self._smtp)
        self._client = client
        await client.connect()
        return client

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _judge(code: int, text: str) -> Outcome:
    """SMTP's own division: 5xx is for good, everything else for later."""
    detail = f"{code} {_printable(text)}"
    return Refused(detail, code) if 500 <= code <= 599 else Deferred(detail, code)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {_printable(str(error))}"


def _printable(text: str) -> str:
    """One line of what a server said; it may say any bytes, and the database does not take them all."""
    line = " ".join(text.split())[:500]
    return "".join(char if char.isprintable() else "?" for char in line)
