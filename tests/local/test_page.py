import pytest

from local.page import link_page

URL = "http://127.0.0.1:8080"
IDENTITY = "01a1fb48-a71f-7000-8efd-03a2c6b79bbb"


def test_link_of_a_review_shows_how_to_vote() -> None:
    page = link_page(URL, f"/reviews/{IDENTITY}")
    assert page is not None
    assert f"{URL}/v1/reviews/{IDENTITY}/decisions" in page
    assert """-H 'If-Match: "VERSION"'""" in page, "a vote is given on the version that was read"


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
