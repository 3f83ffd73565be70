"""The page of the API: it shows everything, loads nothing and runs nothing."""

import re
from typing import Any

import httpx2
import pytest

from cli.api import SERVICES, api_document, build
from local.gateway import Gateway
from local.reference import reference_page


@pytest.fixture(scope="module")
def gateway() -> Gateway:
    return Gateway([build(name) for name in SERVICES], {}, front="", url="http://jit.test")


async def get(gateway: Gateway, path: str) -> httpx2.Response:
    transport = httpx2.ASGITransport(app=gateway)
    async with httpx2.AsyncClient(transport=transport, base_url="http://jit.test") as client:
        return await client.get(path)


async def test_the_document_over_all_services_is_served(gateway: Gateway) -> None:
    answer = await get(gateway, "/openapi.json")
    assert answer.json() == api_document()


async def test_the_page_shows_every_operation_and_schema(gateway: Gateway) -> None:
    answer = await get(gateway, "/docs")
    document = api_document()
    assert answer.headers["content-type"].startswith("text/html")
    for path, item in document["paths"].items():
        assert path in answer.text
        for operation in item.values():
            assert f'id="{operation["operationId"]}"' in answer.text
    for name in document["components"]["schemas"]:
        assert f'id="schema-{name}"' in answer.text


async def test_every_link_of_the_page_leads_somewhere_on_it(gateway: Gateway) -> None:
    page = (await get(gateway, "/docs")).text
    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= anchors


async def test_the_page_needs_nothing_from_elsewhere(gateway: Gateway) -> None:
    answer = await get(gateway, "/docs")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"<script|<img|src=|@import|url\(", answer.text)
    assert set(re.findall(r'href="(?!#)([^"]+)"', answer.text)) == {"/openapi.json", "/favicon.svg"}
    assert 'name="viewport"' in answer.text
    assert "light dark" in answer.text


def test_what_the_document_says_is_text_not_markup() -> None:
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "<b>x</b>", "description": "<script>alert(1)</script>"},
        "tags": [],
        "paths": {},
        "components": {"schemas": {}},
    }
    page = reference_page(document)
    assert "<script>" not in page
    assert "<b>x</b>" not in page
