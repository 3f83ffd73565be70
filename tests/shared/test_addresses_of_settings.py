"""Which addresses production may rely on, in all the spellings of this machine."""

import pytest

from shared.foundation.addresses import address_problem, is_local

LOCAL = (
    "localhost", "LOCALHOST", "localhost.", "a.localhost", "localhost.localdomain", "ip6-localhost",
    "127.0.0.1", "127.0.0.1.", "127.9.9.9", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]",
)  # fmt: skip
ODD = (
    "127.1",
    "2130706433",
    "0x7f000001",
    "a_b.example.org",
    'a"onmouseover=b',
    "idp.example.org.",
    "-a.org",
)


@pytest.mark.parametrize("host", LOCAL)
def test_every_spelling_of_this_machine_is_found(host: str) -> None:
    assert is_local(host.strip("[]"))
    assert address_problem(f"https://{host}") is not None
    assert address_problem(f"https://{host}:9000/path") is not None


@pytest.mark.parametrize("host", ODD)
def test_a_host_that_others_may_read_otherwise_is_refused(host: str) -> None:
    assert address_problem(f"https://{host}") is not None


@pytest.mark.parametrize(
    "url",
    [
        "https://login.example.org",
        "https://idp",
        "https://10.1.2.3:8443/x",
        "https://[2001:db8::1]/",
        "https://a1-b.c2.org/",
    ],
)
def test_an_ordinary_address_is_good(url: str) -> None:
    assert address_problem(url) is None


@pytest.mark.parametrize(
    "url", ["http://login.example.org", "https://", "https://a.org:x", "https:///a", "ftp://a.org"]
)
def test_anything_but_https_is_refused(url: str) -> None:
    assert address_problem(url) == "it is not an https address"


def test_credentials_in_an_address_are_refused_and_not_repeated() -> None:
    problem = address_problem("https://user:SECRETPW@login.example.org")
    assert problem == "it holds a user name or a password"
