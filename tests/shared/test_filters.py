"""What a list's text is made of, and that it is made of nothing else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.database.filters import Where, given, one_of, query
from tests.support.pages import ROOT

TEMPLATE = "SELECT id FROM thing WHERE {where} ORDER BY id LIMIT {limit}"
IN_STATE = {"open": "state = 'open'", "closed": "state = 'closed'"}


def test_query_with_all_filters_has_all_conditions_and_numbers_their_values() -> None:
    where = given(("a = {}", 1), ("(b, c) > ({}, {})", 2, 3), one_of(IN_STATE, "open"))
    assert query(TEMPLATE, where, limit=4) == (
        "SELECT id FROM thing WHERE a = $1 AND (b, c) > ($2, $3) AND state = 'open' ORDER BY id LIMIT $4",
        1, 2, 3, 4,
    )  # fmt: skip


def test_query_without_filters_has_none() -> None:
    where = given(("a = {}", None), ("b = {}", None), one_of(IN_STATE, None))
    assert query(TEMPLATE, where, limit=4) == ("SELECT id FROM thing WHERE true ORDER BY id LIMIT $1", 4)


def test_query_with_some_filters_has_those() -> None:
    where = given(("a = {}", None), ("(b, c) > ({}, {})", 2, None), ("d = {}", 0), ("e = {}", ""))
    assert query(TEMPLATE, where, limit=4) == (
        "SELECT id FROM thing WHERE d = $1 AND e = $2 ORDER BY id LIMIT $3", 0, "", 4,
    )  # fmt: skip


def test_value_that_looks_like_sql_or_a_place_stays_a_value() -> None:
    hostile = "'; DROP TABLE thing; -- {} {where} $1"
    text, *values = query(TEMPLATE, given(("a = {}", hostile), ("b = {}", 1)), limit=4)
    assert text == "SELECT id FROM thing WHERE a = $1 AND b = $2 ORDER BY id LIMIT $3"
    assert values == [hostile, 1, 4]


def test_word_that_is_in_no_table_makes_no_text() -> None:
    with pytest.raises(KeyError):
        one_of(IN_STATE, "open' OR true --")


def test_where_is_a_value_so_that_page_and_count_can_share_it() -> None:
    assert given(("a = {}", 1)) == Where(("a = {}",), (1,))


# nothing else than what stands in the code


def _trees() -> Iterator[tuple[Path, ast.Module]]:
    for folder in ("services", "shared"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "shared.database.filters import" in path.read_text():
                yield path, ast.parse(path.read_text())


def _calls(tree: ast.Module, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node


def _texts(tree: ast.Module) -> set[str]:
    """Names that stand for texts as they are written, or for tables of such."""
    return {
        node.target.id
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _is_written(node.value)
    }


def _is_written(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Dict):
        return all(_is_written(one) for one in value.values)
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _is_piece(node: ast.expr, names: set[str]) -> bool:
    return _is_written(node) or (isinstance(node, ast.Name) and node.id in names)


@pytest.mark.parametrize(("path", "tree"), list(_trees()), ids=lambda one: getattr(one, "stem", ""))
def test_every_piece_of_a_query_is_written_in_the_code(path: Path, tree: ast.Module) -> None:
    names = _texts(tree)
    for call in _calls(tree, "given"):
        for one in call.args:
            pieces = [one.body, one.orelse] if isinstance(one, ast.IfExp) else [one]
            texts = [piece.elts[0] if isinstance(piece, ast.Tuple) else piece for piece in pieces]
            fixed = all(_is_piece(text, names) for text in texts)
            assert fixed or isinstance(one, ast.Call | ast.Starred), (
                f"{path}:{one.lineno}: a condition is a tuple that begins with its text"
            )
    for call in _calls(tree, "one_of"):
        assert _is_piece(call.args[0], names), f"{path}:{call.lineno}: a table of texts"
    for call in _calls(tree, "query"):
        template = call.args[0]
        walk = isinstance(template, ast.Attribute) and template.attr in {"page", "count"}
        assert walk or _is_piece(template, names), f"{path}:{call.lineno}: a template is a text"
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) and _is_sql(node)]


def _is_sql(node: ast.JoinedStr) -> bool:
    text = "".join(str(one.value) for one in node.values if isinstance(one, ast.Constant))
    return any(word in text for word in ("SELECT", "WHERE", " = $", "ORDER BY"))
