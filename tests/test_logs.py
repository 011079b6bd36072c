import io
import json
import logging
import os
import stat
import subprocess
import sys
import time
import urllib.parse
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from bot import logs
from bot.config import Secrets
from bot.messages import BotEvent
from tests.conftest import CHECKOUT

KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = 'NhqPtmdSJY"dKjVHjA7PZj4Mge3R5YNiP1e3UZjIn\\Class65zAbvqqM8A7H5fATj0j'
PASSWORD = "corr&ect ho@rse/b:att"
SIGNATURE = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
LISTEN_KEY = "pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sdf19v8a65a1"


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    logs.configure(stream=stream, level="debug")
    for value in (KEY, SECRET, PASSWORD):
        logs.protect(value)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def forms(secret: str) -> set[str]:
    """What a reader of the log could take the secret from."""
    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(json.dumps(secret))[1:-1],
        repr(secret)[1:-1],
        urllib.parse.quote(secret),
        urllib.parse.quote_plus(secret),
        secret[:20],
        secret[-20:],
    }


def assert_silent(text: str, *more: str) -> None:
    assert text
    for secret in (KEY, SECRET, PASSWORD, SIGNATURE, LISTEN_KEY, *more):
        for form in forms(secret):
            assert form not in text


SHAPES = {
    "text": lambda value: f"key is {value}, really",
    "bytes": lambda value: value.encode(),
    "bytearray": lambda value: bytearray(value.encode()),
    "nested": lambda value: {"a": [{"b": ({"c": value},)}]},
    "set": lambda value: {value},
    "as a key": lambda value: {value: 1},
    "inside JSON": lambda value: json.dumps({"x": [value]}),
    "inside JSON inside JSON": lambda value: json.dumps(json.dumps({"x": [value]})),
    "inside a repr": lambda value: repr({"x": value, "y": value.encode()}),
    "URL": lambda value: f"https://fapi.binance.com/x?a={urllib.parse.quote(value)}&b={urllib.parse.quote_plus(value)}",
    "exception": lambda value: ValueError("no", value),
    "event": lambda value: BotEvent(at=1, name="x", detail={"deep": [value]}),
    "path": lambda value: Path("/x") / value.replace("/", ":"),
}


@pytest.mark.parametrize("secret", [KEY, SECRET, PASSWORD.replace("/", "")])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_protected_value_does_not_get_out_in_any_shape_through_any_logger(
    stream: io.StringIO, shape: str, secret: str
) -> None:
    logs.protect(secret)
    value = SHAPES[shape](secret)
    structlog.get_logger("bot.x").info("looked", value=value, **{secret: 1})
    structlog.get_logger("bot.x").bind(value=value).warning(f"event {value}")
    structlog.contextvars.bind_contextvars(value=value)
    structlog.get_logger("bot.x").info("bound")
    structlog.contextvars.clear_contextvars()
    for name in ("binance_common.utils", "aiohttp.client", "urllib3.connectionpool", "asyncio", "root"):
        logging.getLogger(name).warning("saw %s and %r", value, value, extra={"more": value})
    logging.getLogger("urllib3").warning("named %(value)s", {"value": value})
    assert len(lines(stream)) == 9
    assert_silent(stream.getvalue(), secret)


def test_secrets_inside_exceptions_and_their_tracebacks_do_not_get_out(stream: io.StringIO) -> None:
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as cause:
            cause.add_note(f"note {PASSWORD}")
            raise ExceptionGroup("both", [ValueError(f"X-MBX-APIKEY: {KEY}"), OSError(5, SECRET, PASSWORD)]) from cause
    except ExceptionGroup:
        structlog.get_logger("bot.x").exception("failed")
        logging.getLogger("aiohttp").exception("failed with %s", KEY)
        logging.getLogger("aiohttp").warning("stack", stack_info=True)
    first, second, _ = lines(stream)
    assert "KeyError" in first["exception"]
    assert "OSError" in second["exception"]
    assert_silent(stream.getvalue())


UNKNOWN = [
    f"GET https://fapi.binance.com/fapi/v1/order?symbol=BTCUSDT&timestamp=1&signature={SIGNATURE} 400",
    f"body symbol=BTCUSDT&quantity=1&signature={SIGNATURE}",
    f"symbol%3DBTCUSDT%26signature%3D{SIGNATURE}",
    f"wss://fstream.binance.com/private/ws/{LISTEN_KEY}",
    f'{{"listenKey": "{LISTEN_KEY}"}}',
    json.dumps(f'{{"listenKey": "{LISTEN_KEY}"}}'),
    "{'apiKey': 'short-key-1', 'X-MBX-APIKEY': 'short-key-1'}",
    "headers={'X-MBX-APIKEY': b'short-key-1'}",
    "api_secret=short-key-1 token: short-key-1; password='short-key-1'",
    "Authorization: Bearer short-key-1",
    "postgresql://bot:short-key-1@db.example/journal?sslmode=require",
    "postgresql://bot:p@short-key-1@db.example/journal",
    "-----BEGIN PRIVATE KEY-----\nshort-key-1\n-----END PRIVATE KEY-----",
    "-----BEGIN RSA PRIVATE KEY-----\nshort-key-1 that was cut",
]


@pytest.mark.parametrize("text", UNKNOWN)
def test_what_looks_like_a_secret_is_hidden_though_nobody_named_it(stream: io.StringIO, text: str) -> None:
    structlog.get_logger("bot.x").info("said", text=text, nested={"deep": [text]}, raw=text.encode())
    logging.getLogger("urllib3").warning(text)
    try:
        raise ValueError(text)
    except ValueError:
        structlog.get_logger("bot.x").exception("failed")
    assert len(lines(stream)) == 3
    assert_silent(stream.getvalue(), "short-key-1")


NAMES = ["apiKey", "api_key", "API-KEY", "api_secret", "apiSecret", "secret", "secret_key", "signature", "listenKey",
         "listen_key", "password", "db_password", "X-MBX-APIKEY", "token", "telegram_token", "Authorization", "dsn",
         "BOT_DSN", "private_key"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_field_with_a_secret_name_is_hidden_whatever_it_holds(stream: io.StringIO, name: str) -> None:
    log = structlog.get_logger("bot.x")
    log.info("a", **{name: "xyzzy"}, nested={name: ["xyzzy"]}, detail=[{name: {"n": "xyzzy"}}])
    log.info("b", secrets=Secrets(api_key="xyzzy", api_secret="xyzzy"))
    assert "xyzzy" not in stream.getvalue()


def test_what_is_no_secret_stays_readable(stream: io.StringIO) -> None:
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    fields = {
        "symbol": "BTCUSDT",
        "client_id": "tsb-0123456789abcdef-e0",
        "price": Decimal("84350.10"),
        "digest": digest,
        "url": "https://fapi.binance.com/fapi/v1/klines?symbol=BTCUSDT&limit=99",
        "keys": ["a", 1, 2.5, None, True],
        "monkey": "see",
        "at": 1_740_787_380_123,
    }
    structlog.get_logger("bot.orders.desk").info("order_sent", **fields)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"level": "info", "event": "order_sent", "logger": "bot.orders.desk"} | fields | {
        "price": "84350.10"
    }
    assert next(iter(line)) == "level"


def test_other_peoples_loggers_speak_from_warning_on_and_ours_from_their_level(stream: io.StringIO) -> None:
    logging.getLogger("urllib3").setLevel(logging.DEBUG)
    logging.getLogger("urllib3").info("too much")
    logging.getLogger().info("too much")
    logging.getLogger("urllib3").warning("heard")
    structlog.get_logger("bot.x").debug("heard")
    logs.configure(stream=stream, level="warning")
    structlog.get_logger("bot.x").info("too much")
    assert [line["event"] for line in lines(stream)] == ["heard", "heard"]


def test_a_warning_is_a_line(stream: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn(f"do not use {KEY}", stacklevel=1)
        logging.captureWarnings(False)
    assert lines(stream)[0]["logger"] == "py.warnings"
    assert_silent(stream.getvalue())


class Broken:
    def __str__(self) -> str:
        raise RuntimeError(SECRET)

    __repr__ = __str__


def test_a_record_that_cannot_be_printed_is_a_line_that_says_so(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(stream=stream)  # again, because pytest's own handler came back and raises
    logging.getLogger("x").warning("%d", KEY)
    logging.getLogger("x").warning("%s", Broken())
    structlog.get_logger("bot.x").info("odd", value=Broken())
    assert [line["event"] for line in lines(stream)] == ["log_line_lost"] * 3
    assert_silent(stream.getvalue() + "".join(capsys.readouterr()))


def test_a_stream_that_cannot_be_written_to_is_reported_without_the_line(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    stream.close()
    logging.getLogger("urllib3").warning("lost %s", KEY)
    said = capsys.readouterr().err
    assert "urllib3" in said
    assert_silent(said)
    logs.configure(stream=io.StringIO())


def test_a_handler_that_a_library_brought_is_taken_off() -> None:
    own = logging.getLogger("library")
    own.addHandler(logging.StreamHandler())
    own.propagate = False
    stream = io.StringIO()
    logs.configure(stream=stream)
    own.warning("through the pipeline")
    logging.captureWarnings(False)
    structlog.reset_defaults()
    assert own.handlers == []
    assert lines(stream)[0]["event"] == "through the pipeline"


UNCAUGHT = """
import pathlib, sys, threading
from bot import logs
logs.configure(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else None)
logs.protect({secret!r})
class Finalized:
    def __del__(self):
        raise ValueError({secret!r})
Finalized()
thread = threading.Thread(target=lambda: int({secret!r}))
thread.start()
thread.join()
raise ValueError("at " + {secret!r})
"""


@pytest.mark.parametrize("to_file", [False, True])
def test_exceptions_that_nobody_caught_go_through_the_pipeline(tmp_path: Path, to_file: bool) -> None:
    file = logs.log_file(tmp_path)
    ended = subprocess.run(
        [sys.executable, "-c", UNCAUGHT.format(secret=SECRET), *([str(file)] if to_file else [])],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    text = file.read_text() if to_file else ended.stderr
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert [json.loads(line)["event"] for line in text.splitlines()] == [
        "unraisable_exception",
        "uncaught_exception_in_thread",
        "uncaught_exception",
    ]
    assert_silent(text)
    assert_silent(f"said: {ended.stderr}")


def test_the_file_is_its_owners_alone_and_rotates_by_size(stream: io.StringIO, tmp_path: Path) -> None:
    file = logs.log_file(tmp_path)
    old = os.umask(0)
    try:
        logs.configure(file, max_bytes=2_000, kept=2)
        for number in range(100):
            structlog.get_logger("bot.x").info("counted", number=number)
    finally:
        os.umask(old)
        logs.configure(stream=stream)
    assert sorted(path.name for path in file.parent.iterdir()) == ["bot.jsonl", "bot.jsonl.1", "bot.jsonl.2"]
    for path in file.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_size <= 2_000
    assert json.loads(file.read_text().splitlines()[-1])["number"] == 99


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)


@given(anything)
def test_whatever_is_redacted_can_be_written_as_json(value: object) -> None:
    json.loads(json.dumps(logs.redact(value), allow_nan=False))


def test_a_short_value_is_not_hidden_for_that_would_hide_everything() -> None:
    logs.protect("e")
    assert logs.scrub("event") == "event"


@pytest.mark.parametrize("text", ["x" * 50_000, "ab_" * 20_000, "a=b&" * 20_000, "signature" * 9_000, "\\" * 50_000])
def test_a_long_text_is_scrubbed_in_a_moment(text: str) -> None:
    begun = time.perf_counter()
    logs.scrub(text)
    assert time.perf_counter() - begun < 1
