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
)
PERHAPS = (
    "AROAIOSFODNN7EXAMPLE",
    "token=0123456789",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
)
HARMLESS = (
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
