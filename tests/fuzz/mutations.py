"""A real payload, spoiled: keys gone, other types, absurd numbers, odd text, depth, torn bytes."""

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

Place = tuple[str | int, ...]


class Raw(str):
    """Text that goes into the JSON as it stands, also where JSON has no such thing."""


NUMBERS = (
    "0", "-0", "-1", "1e400", "-1e400", "1E+999999", "1e-999999", "NaN", "Infinity", "-Infinity", "9" * 400, "1.5",
    str(2**63), str(-(2**63) - 1), str(2**64), "1e18", "0.1", "00", "1e", ".", "253402300800000",
)  # fmt: skip
TEXTS = (
    "", " ", "\x00", "\u202e0.1", "\u200b", "\ufeff", "ﬁ", "١٢", "²", "1_000", "0x10", "+1", "1,5", "null", "true",
    "NaN", "sNaN", "-inf", "1e999999", "1e-999999", "9" * 5000, "BOTH", "BUY", "NEW", "FUNDING_FEE", "USDT", "x" * 300,
    "'; --", "../..", "${x}", "\U0001f4a5", "e" * 40,
)  # fmt: skip
REPLACEMENTS = st.one_of(
    st.sampled_from([Raw(number) for number in NUMBERS]),
    st.sampled_from(TEXTS),
    st.sampled_from([Raw(json.dumps(number)) for number in NUMBERS]),
    st.sampled_from([None, True, False, [], {}, [[]], [{}], {"e": "kline"}, Raw('"\\ud800"'), Raw("")]),
    st.sampled_from([Raw("[" * depth + "]" * depth) for depth in (50, 3_000)]),
    st.sampled_from([Raw('{"a":' * depth + "1" + "}" * depth) for depth in (50, 3_000)]),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=40),
)


@st.composite
def spoiled(draw: st.DrawFn, samples: Sequence[Any]) -> bytes:
    """One of the samples with up to four faults in it, as bytes that came over a wire."""
    value = json.loads(json.dumps(draw(st.sampled_from(samples))))
    for _ in range(draw(st.integers(1, 4))):
        value = _with_a_fault(draw, value)
    text = to_json(value).encode("utf-8", errors="surrogatepass")
    return _torn(draw, text) if draw(st.integers(0, 3)) == 0 else text


def to_json(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{to_json(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(to_json, value)) + "]"
    return json.dumps(value)


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Every place in the value, its own included."""
    yield at
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield from places(one, (*at, key))


def _with_a_fault(draw: st.DrawFn, value: Any) -> Any:
    at = draw(st.sampled_from(list(places(value))))
    if not at:
        return copy.deepcopy(draw(REPLACEMENTS)) if draw(st.integers(0, 9)) == 0 else value
    parent = value
    for key in at[:-1]:
        parent = parent[key]
    fault = draw(st.sampled_from(("drop", "replace", "replace", "replace", "again", "beside")))
    last: Any = at[-1]
    if fault == "drop":
        del parent[last]
    elif fault == "replace":
        parent[last] = copy.deepcopy(draw(REPLACEMENTS))  # a later fault may change it
    elif fault == "again" and isinstance(parent, list):
        parent.append(parent[last])
    elif isinstance(parent, dict):
        parent[draw(st.sampled_from(["e", "data", "id", "code", "s", "", "\x00", "symbol"]))] = parent[last]
    return value


def _torn(draw: st.DrawFn, text: bytes) -> bytes:
    at = draw(st.integers(0, len(text)))
    match draw(st.sampled_from(("cut", "insert", "head", "twice"))):
        case "cut":
            return text[:at]
        case "head":
            return text[at:]
        case "twice":
            return text + text
        case _:
            return text[:at] + draw(st.binary(min_size=1, max_size=4)) + text[at:]
