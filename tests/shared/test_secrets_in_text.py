import time

import pytest

from shared.text.secrets_in_text import REDACTED, holds_secret, redact

CREDENTIALS = (
    "Authorization: Bearer c4n4ry-t0k3n-value",
    "basic dXNlcjpwYXNzd29yZA==",
    "BASIC dXNlcjpwYXNz",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    "aws_secret_access_key = wJalrXUtnFEMI",
    "-----BEGIN RSA PRIVATE KEY----- MIIE",
    "ghp_0123456789abcdefghij",
    "xoxb-0123456789",
    "password: hunter22",
    "api-key=0123456789",
    "https://admin:hunter22@db.example.com/x",
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "SK0123456789abcdef0123456789abcdef",
    "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",
    "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsawx",
    "glpat-0123456789abcdefghij",
    "npm_abcdefghijklmnopqrstuvwxyz0123456789",
    "sk-abcdefghijklmnopqrstT3BlbkFJabcdefghijklmnopqrst",
)
PERHAPS = (
    "AROAIOSFODNN7EXAMPLE",
    "token=0123456789",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
)
HARMLESS = (
    "roll back to 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b because of errors",
    "need arn:aws:iam::123456789012:role/Admin on i-0abcd1234ef567890",
    "see 0195556a-0000-7000-8000-000000000001 for details please",
    "CHG-0012345 / INC0098765 rollout of build 3f2a9c1d7b",
    "the hosts 203.0.113.7 and db1.example.com:5432 do not answer",
    "see https://wiki.example.com/pages/viewpage.action?pageId=4711#Rollback",
    "Passwort zurücksetzen für den Benutzer jörg.müller@example.com",
    "basic maintenance of the payment workers",
    "bearer authentication fails since noon",
    "commit 4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    "rotate the token of the build server",
    "rule/prod allow group:group-owners-prod approve/prod/1 ou:ou-prod *",
    "arn:aws:sso:::permissionSet/ssoins-0000000000000001/ps-00000000000000ad",
    "d58fe0f6d3f7be33f405041ec715543365ab3bf36d80c4a6f73732504ed14c7a",
)


@pytest.mark.parametrize("secret", CREDENTIALS)
def test_credential_is_seen_and_struck_out(secret: str) -> None:
    text = f"please use {secret} for it"
    assert holds_secret(text)
    assert REDACTED in redact(text)
    assert secret.rsplit(maxsplit=1)[-1] not in redact(text)


@pytest.mark.parametrize("text", PERHAPS)
def test_what_looks_like_a_credential_is_seen_and_stays_in_the_log(text: str) -> None:
    assert holds_secret(f"use {text} please")
    assert redact(text) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_words_of_people_and_ids_are_no_credentials(text: str) -> None:
    assert not holds_secret(text)
    assert redact(text) == text


def test_a_long_text_is_looked_through_quickly() -> None:
    """A pattern that goes back and forth would take minutes for texts that are made for it."""
    pieces = ("://", "://a", "a:", "eyJ", "SG.", "sk-", "npm_", "Bearer ", "-----BEGIN ", "0123456789:", "A")
    for piece in pieces:
        started = time.process_time()
        holds_secret(piece * (10_000 // len(piece)))
        assert time.process_time() - started < 2, f"{piece!r} repeated takes too long"
