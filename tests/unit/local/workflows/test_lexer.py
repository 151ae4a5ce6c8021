from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow.local.workflows.lexer import ExpressionError, tokenize


def test_tokens_end_with_end() -> None:
    assert [token.text for token in tokenize("a.b // 2")] == ["a", ".", "b", "//", "2", ""]


@given(st.text(alphabet=st.characters(exclude_characters='"\\', exclude_categories=["Cs", "Cc"])))
def test_strings_keep_their_characters(text: str) -> None:
    assert tokenize(f'"{text}"')[0].value == text


def test_unknown_characters_are_quoted() -> None:
    with pytest.raises(ExpressionError, match="unexpected '#b'"):
        tokenize("a #b")
