"""The client of the mail server that the settings name."""

import socket
from email.message import EmailMessage

import aiosmtplib

from shared.foundation.settings import SmtpSettings


def smtp_client(smtp: SmtpSettings) -> aiosmtplib.SMTP:
    """Not connected yet."""
    return aiosmtplib.SMTP(
        hostname=smtp.host,
        port=smtp.port,
        username=smtp.username or None,
        password=smtp.password.get_secret_value() or None,
        use_tls=smtp.tls == "implicit",
        start_tls=smtp.tls == "starttls",
        timeout=smtp.timeout_s,
        local_hostname=socket.gethostname(),  # its default asks the name server, and everybody waits
    )


async def deliver(message: EmailMessage, smtp: SmtpSettings) -> None:
    """Hand one message to the mail server; raises aiosmtplib's errors and OSError."""
    async with smtp_client(smtp) as client:
        await client.send_message(message)
