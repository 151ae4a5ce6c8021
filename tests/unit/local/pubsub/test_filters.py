from __future__ import annotations

import pytest
from google.api_core import exceptions
from hypothesis import given
from hypothesis import strategies as st

from saxflow.local.pubsub.filters import parse_filter


@pytest.mark.parametrize(
    ("text", "attributes", "passes"),
    [
        ("", {}, True),
        ("attributes:a", {"a": ""}, True),
        ("-attributes:a", {"a": ""}, False),
        ('attributes.a = "x"', {"a": "x"}, True),
        ('attributes.a="x"', {"a": "y"}, False),
        ('attributes.a != "x"', {}, True),
        ('attributes."iana.org/x" = "1"', {"iana.org/x": "1"}, True),
        ('attributes.ce-type = "t"', {"ce-type": "t"}, True),
        ('attributes.a = "say \\"x\\""', {"a": 'say "x"'}, True),
        ('hasPrefix(attributes.a, "x")', {"a": "xy"}, True),
        ('hasPrefix(attributes.a, "")', {}, False),
        ("attributes:a AND attributes:b AND attributes:c", {"a": "", "b": "", "c": ""}, True),
        ("attributes:a OR attributes:b", {"b": ""}, True),
        ("NOT (attributes:a OR attributes:b)", {}, True),
        ("NOT NOT attributes:a", {"a": ""}, True),
        ("(attributes:a AND attributes:b) OR attributes:c", {"c": ""}, True),
    ],
)
def test_filters(text: str, attributes: dict[str, str], passes: bool) -> None:
    assert parse_filter(text)(attributes) is passes


@pytest.mark.parametrize(
    "text",
    ["attributes:a AND attributes:b OR attributes:c", "attributes:", "attributes.a", "a = 1",
     'attributes.a > "x"', "attributes.a = x", "attributes:a attributes:b", "()", "NOT",
     'attributes.a = "\\q"', 'attributes."\\q" = "x"', 'attributes.a = "\t"', 'attributes:"\\u12"',
     'hasPrefix(attributes.a)', 'attributes.1 = "x"', "attributes:a" + " " * 300],
)  # fmt: skip
def test_malformed_filters(text: str) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        parse_filter(text)


@given(
    st.text(max_size=40) | st.text('atribues.:="\\\n', max_size=20).map("attributes.a={}".format)
)
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        parse_filter(text)({})
    except exceptions.InvalidArgument:
        return
