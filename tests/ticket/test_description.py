"""The fields that describe a ticket to people: what each may hold, and that none is forgotten."""

import pytest

from services.ticket.domain import description
from services.ticket.domain.description import check_description
from shared.contracts.description import Description

GOOD = {"reference": "OPS-1", "link": "https://changes.example.com:8443/c/4711?view=a%20b#top"}


def test_every_field_has_a_check_and_may_be_left_out() -> None:
    assert set(description._CHECKS) == set(GOOD) == set(Description.model_fields)
    assert check_description(Description()) == []
    assert check_description(Description(**GOOD)) == []


@pytest.mark.parametrize(
    ("field", "text", "code"),
    [
        ("reference", "OPS-1\nX: y", "reference_invalid"),
        ("reference", " ", "reference_invalid"),
        ("reference", "R" * 201, "reference_invalid"),
        ("reference", "password=correct-horse", "looks_secret"),
        ("link", "http://changes.example.com/4711", "link_invalid"),
        ("link", "javascript:alert(1)", "link_invalid"),
        ("link", "https://", "link_invalid"),
        ("link", "https:///4711", "link_invalid"),
        ("link", "https://ann:correct-horse@changes.example.com/", "link_invalid"),
        ("link", "https://changes.example.com@evil.example/", "link_invalid"),
        ("link", "https://ch\u0430nges.example.com/", "link_invalid"),  # a Cyrillic letter
        ("link", "https://changes.example.com/a b", "link_invalid"),
        ("link", "https://changes.example.com/\u202e", "link_invalid"),
        ("link", 'https://changes.example.com/"><script>', "link_invalid"),
        ("link", "https://changes.example.com:port/", "link_invalid"),
        ("link", "https://[::1/", "link_invalid"),
        ("link", f"https://changes.example.com/{'a' * 473}", "link_invalid"),
        ("link", "https://changes.example.com/?password=correct-horse", "looks_secret"),
    ],
)
def test_field_that_cannot_be_mailed_and_kept_is_refused(field: str, text: str, code: str) -> None:
    problems = check_description(Description(**{field: text}))
    assert [(one.field, one.code) for one in problems] == [(f"/{field}", code)]
    assert "correct-horse" not in problems[0].detail


def test_link_of_the_longest_length_passes() -> None:
    assert check_description(Description(link=f"https://changes.example.com/{'a' * 472}")) == []
