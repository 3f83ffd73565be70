"""Pages: a cursor leads on exactly while there is more, and only a cursor is taken for one."""

from base64 import urlsafe_b64encode
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from shared.http.pages import IdCursor, NameCursor, NumberCursor, Page, cut, encode_cursor
from shared.http.problems import install_errors

app = FastAPI()


async def ignore(*_: object) -> None: ...


install_errors(app, on_refusal=ignore)


@app.get("/ids")
async def ids(cursor: IdCursor = None) -> str | None:
    return cursor


@app.get("/names")
async def names(cursor: NameCursor = None) -> str | None:
    return cursor


@app.get("/numbers")
async def numbers(cursor: NumberCursor = None) -> int | None:
    return cursor


client = TestClient(app)
ID = "01890000-0000-7000-8000-000000000000"


@given(st.lists(st.integers(0, 99), unique=True).map(sorted), st.integers(1, 5))
def test_pages_hold_everything_once_and_end_without_a_cursor(rows: list[int], limit: int) -> None:
    seen: list[int] = []
    after = -1
    while True:
        found = [row for row in rows if row > after][: limit + 1]
        items, next_cursor = cut(found, limit, lambda row: row)
        seen += items
        if next_cursor is None:
            break
        assert items
        after = client.get("/numbers", params={"cursor": next_cursor}).json()
    assert seen == rows


@pytest.mark.parametrize(
    ("path", "position"), [("/ids", ID), ("/names", "prod-élan"), ("/numbers", 2**63 - 1)]
)
def test_a_cursor_comes_back_as_its_position(path: str, position: Any) -> None:
    assert client.get(path, params={"cursor": encode_cursor(position)}).json() == position
    assert client.get(path).json() is None


@pytest.mark.parametrize("path", ["/ids", "/names", "/numbers"])
@pytest.mark.parametrize(
    "cursor",
    [
        "zzz",
        "",
        "*",
        "é",
        ID,
        "3",
        encode_cursor(-1),
        encode_cursor("a\0b"),
        encode_cursor(2**63),
        "W10",
        "eyJhIjoxfQ",  # {"a":1}
        urlsafe_b64encode(b"[" * 700).decode(),
        urlsafe_b64encode(b"[" * 9000).decode(),
        "bnVsbA",
    ],
)
def test_what_is_no_cursor_is_refused(path: str, cursor: str) -> None:
    answer = client.get(path, params={"cursor": cursor})
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"], error["code"]) == (422, "cursor", "cursor_invalid")
    assert "next_cursor" in error["detail"]


@pytest.mark.parametrize(
    ("path", "other"), [("/ids", "prod"), ("/ids", 3), ("/names", 3), ("/numbers", "prod")]
)
def test_a_cursor_of_another_list_is_refused(path: str, other: Any) -> None:
    assert client.get(path, params={"cursor": encode_cursor(other)}).status_code == 422


def test_a_page_is_named_after_its_items() -> None:
    assert Page[int].__name__ == "intPage"
    assert set(Page[int].model_json_schema()["required"]) == {"items", "next_cursor"}
