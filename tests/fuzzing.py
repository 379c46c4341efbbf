"""Inputs for parsers: sound files with changes, and values of any kind."""

import copy
import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from pipeline import contract

# Integers at the edges of their range, in both byte orders.
_EDGES = [
    number.to_bytes(size, order, signed=number < 0)
    for size in (2, 4, 8)
    for number in (0, 1, -1, 2 ** (8 * size - 1) - 1, 10 * 2 ** (8 * size - 8))
    for order in ("little", "big")
]
_NUMBERS = (
    st.integers()
    | st.floats()
    | st.sampled_from([0, -1, 2**31, 2**53 + 1, 2**63, 2**64, 10**30])
)
_TEXTS = st.text(max_size=4) | st.sampled_from(
    ["", "..", "../x", "/", "a/b", "\0", "\ud800", "1", "-1", "9" * 5000, "x\ny"]
)
JUNK = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner),
    max_leaves=6,
)
# JSON, text that is no JSON, and lists nested deeper than Python's stack.
JSON_TEXTS = (
    JUNK.map(json.dumps)
    | st.text()
    | st.integers(1, 3000).map(lambda depth: "[" * depth + "]" * depth)
)


@st.composite
def changed(draw: st.DrawFn, sound: bytes) -> bytes:
    """Draws a sound file with one to four changes."""
    data = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = start + draw(st.sampled_from([0, 1, 2, 4, 8, 100, len(data)]))
        new = draw(
            st.binary(max_size=12)
            | st.sampled_from(_EDGES)
            | st.just(bytes(data[-start : stop - start]))
        )
        if draw(st.booleans()):
            stop = start + len(new)
        data[start:stop] = new
    return bytes(data)


@st.composite
def changed_json(draw: st.DrawFn, sound: Any) -> Any:
    """Draws a sound JSON value with one or two parts replaced or removed."""
    body = copy.deepcopy(sound)
    for _ in range(draw(st.integers(1, 2))):
        paths = [path for path in _paths(body) if path]
        if not paths:
            return body
        *parents, last = draw(st.sampled_from(paths))
        target = body
        for part in parents:
            target = target[part]
        if draw(st.integers(0, 4)):
            target[last] = draw(JUNK)
        else:
            del target[last]
    return body


def refuses(*errors: type[Exception], call: Callable[[], Any]) -> None:
    """Asserts that a call raises one of `errors`, whose text is one line.

    Any other error reaches the caller and fails its test.
    """
    assert _refusal(errors, call, check=None) is not None, "the input was accepted"


def reads_or_refuses(
    *errors: type[Exception], call: Callable[[], Any], check: Callable[[Any], Any]
) -> None:
    """Asserts that a call raises one of `errors`, or that its result is right.

    Args:
        errors: Errors that refuse an input; the text must be one line.
        call: Reads the input.
        check: Asserts what the result of a call that raises nothing must be.
    """
    _refusal(errors, call, check)


def check_manifest(manifest: contract.Manifest, body: dict[str, Any]) -> None:
    """Asserts that a manifest has the values of `body`; it computes totals itself."""
    actual = json.loads(manifest.to_json())
    assert actual.keys() == body.keys()
    for name in actual.keys() - {"digest", "splits"}:
        assert actual[name] == body[name], name
    assert actual["splits"].keys() == body["splits"].keys()
    for name, split in actual["splits"].items():
        assert split["shards"] == body["splits"][name]["shards"]


def _refusal(
    errors: tuple[type[Exception], ...],
    call: Callable[[], Any],
    check: Callable[[Any], Any] | None,
) -> str | None:
    try:
        result = call()
    except errors as error:
        text = str(error)
        assert len(text.splitlines()) == 1, text
        return text
    if check is not None:
        check(result)
    return None


def _paths(value: Any, path: tuple = ()) -> list[tuple]:
    items: Any = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    return [path, *(below for k, v in items for below in _paths(v, (*path, k)))]
