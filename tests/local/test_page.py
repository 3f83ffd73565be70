"""The pages of the demo: what fits on a phone and a dark screen, and what their commands do."""

import re

import pytest

from local.look import HEAD, icon
from local.page import PEOPLE, front_page, link_page

URL = "http://127.0.0.1:8080"
IDENTITY = "01a1fb48-a71f-7000-8efd-03a2c6b79bbb"


def test_link_of_a_review_names_the_version_that_was_shown_and_never_any() -> None:
    page = link_page(URL, f"/reviews/{IDENTITY}")
    assert page is not None
    assert f"{URL}/v1/reviews/{IDENTITY}/decisions" in page
    assert "If-Match: $(printf" in page
    assert "If-Match: *" not in page


def test_link_of_a_ticket_shows_how_to_look_and_no_vote() -> None:
    page = link_page(URL, f"/tickets/{IDENTITY}")
    assert page is not None
    assert "decisions" not in page


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/reviews/",
        "/reviews/$(reboot)",
        f"/reviews/{IDENTITY};id",
        "/reviews/<script>",
        f"/x/{IDENTITY}",
    ],
)
def test_path_that_is_no_link_has_no_page(path: str) -> None:
    assert link_page(URL, path) is None


def test_pages_fit_a_phone_follow_the_screen_and_name_their_icon() -> None:
    for page in (front_page(URL, URL, PEOPLE), link_page(URL, f"/reviews/{IDENTITY}")):
        assert page is not None
        assert HEAD in page
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in HEAD
    assert "prefers-color-scheme: dark" in HEAD
    dark = HEAD[HEAD.index("prefers-color-scheme") :]
    names = set(re.findall(r"var\((--\w+)\)", HEAD))
    assert all(f"{name}: #" in dark for name in names), "every colour has its dark value"
    assert icon().media_type == "image/svg+xml"
