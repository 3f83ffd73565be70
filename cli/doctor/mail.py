"""Mail: the server is reached, speaks TLS and takes the login. Nothing is sent unless somebody is named."""

from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Final

import aiosmtplib

from cli.doctor.findings import Finding, fail, ok, warn
from shared.foundation.clock import new_id
from shared.foundation.settings import ServiceSettings, SmtpSettings
from shared.foundation.smtp import deliver, smtp_client

_SETTINGS: Final = "see JIT_SMTP_* in docs/settings.md"


async def check_mail(service: str, settings: ServiceSettings, *, send_to: str | None) -> list[Finding]:
    """The notifier mails people; the others only alerts, where somebody is to get them."""
    found = [] if settings.alerts_topic_arn or settings.alerts_mail_to else [_NOBODY]
    if service == "notifier" or settings.alerts_mail_to or send_to:
        found += [one async for one in _mail(settings.smtp, send_to)]
    return found


_NOBODY: Final = warn(
    "alerts", "they go nowhere but the log and /v1/ops/<service>/alerts",
    "set JIT_ALERTS_TOPIC_ARN or JIT_ALERTS_MAIL_TO",
)  # fmt: skip


async def _mail(smtp: SmtpSettings, send_to: str | None) -> AsyncIterator[Finding]:
    client = smtp_client(smtp)
    where = f"{smtp.host}:{smtp.port} with tls={smtp.tls}"
    try:
        await client.connect()
        await client.ehlo()
        offered = client.supports_extension("starttls")
        await client.quit()
    except (aiosmtplib.SMTPException, OSError) as error:
        yield fail("mail.server", f"{where}: {type(error).__name__}: {error}", _SETTINGS)
        return
    finally:
        client.close()
    if smtp.tls == "none" and offered:
        yield warn("mail.server", f"{where} offers STARTTLS, which is not used", "set JIT_SMTP_TLS=starttls")
    else:
        yield ok("mail.server", f"{where} answers{' and takes the login' if smtp.username else ''}")
    if send_to is not None:
        yield await _sent(smtp, send_to)


async def _sent(smtp: SmtpSettings, send_to: str) -> Finding:
    message = EmailMessage()
    message["From"], message["To"] = smtp.sender, send_to
    message["Subject"] = "JIT: a mail to try the way"
    message["Message-ID"] = f"<{new_id()}@doctor.jit>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("Somebody ran `jit doctor` to see whether mail arrives. There is nothing to do.")
    try:
        await deliver(message, smtp)
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        return fail("mail.sent", f"to {send_to}: {type(error).__name__}: {error}", _SETTINGS)
    return ok("mail.sent", f"the server took a mail to {send_to}; look whether it arrived")
