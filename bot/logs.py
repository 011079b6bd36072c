"""Log lines out, secrets out of them: JSON, UTC, one event name and fields, to stderr or a rotating file.

Everything passes one pipeline: structlog, the standard library's loggers (SDK, aiohttp, urllib3) from WARNING on,
warnings, and exceptions that nobody caught.
"""

import logging
import logging.handlers
import os
import re
import sys
import threading
import urllib.parse
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor

HIDDEN = "***"
_SHORTEST = 4  # characters; hiding anything shorter wherever it occurs would leave no log
_DEEPEST = 12
_LARGEST = 1 << 63  # beyond it, infinite and NaN included, a number is printed as text
_OURS = frozenset({"bot", "plugins", "__main__"})

_SECRET_NAME = (
    r"x-mbx-apikey|api[_-]?key|(?:api|client)?[_-]?secret(?:[_-]?key)?|signature|listen[_-]?key|passw(?:or)?d"
    r"|private[_-]?key|token"
)
_SECRET_KEY = re.compile(rf"(?i)(?:.*[_-])?(?:{_SECRET_NAME}|authorization|dsn)")
# a signed query or body, all of it
_SIGNED = re.compile(r"""(?i)(?<![^\s"'<>?])[^\s"'<>?]*\bsignature(?:=|%3D)[^\s"'<>\\]*""")
_PATTERNS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), HIDDEN),
    (re.compile(r"""(?i)(authorization\\*["']?\s*[:=]\s*\\*["']?)(?:\w+ )?[^\s"'\\,}]+"""), rf"\1{HIDDEN}"),
    (
        re.compile(rf"""(?i)((?:{_SECRET_NAME})\\*["']?\s*(?:[:=]|%3D)\s*(?:b?\\*["'])?)[^\s"'&,;)}}\]\\]+"""),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"""(://[^\s:/@"']*:)[^\s"']+@"""), rf"\1{HIDDEN}@"),
    # what the venue's keys and listen keys look like; a plain hex digest is none of them
    (re.compile(r"(?<![A-Za-z0-9])(?![0-9a-f]{64})[A-Za-z0-9]{60,68}(?![A-Za-z0-9])"), HIDDEN),
)

_protected: dict[str, re.Pattern[str]] = {}  # by value, the longest first


def protect(value: str | bytes) -> None:
    """Never print `value` from now on, however quoted, escaped or encoded. Shorter than 4 characters: no effect.

    Of a value of several lines each long line is protected too.
    """
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    for part in (text, text.strip(), *(line.strip() for line in text.splitlines() if len(line) > 2 * _SHORTEST)):
        if len(part) >= _SHORTEST:
            _protected[part] = re.compile("".join(map(_any_form, part)))
    for part in sorted(_protected, key=len, reverse=True):
        _protected[part] = _protected.pop(part)


def _any_form(char: str) -> str:
    """A pattern for one character as text, JSON, a repr, or a URL shows it, nested however deep."""
    if char.isascii() and char.isalnum():
        return char
    octets, units = char.encode("utf-8", "surrogatepass"), char.encode("utf-16-be", "surrogatepass")
    forms = [
        r"\\+" if char == "\\" else rf"\\*{re.escape(char)}",
        "(?i:" + "".join(f"%(?:25)*{octet:02x}" for octet in octets) + ")",
        "(?i:" + "".join(rf"\\+x{octet:02x}" for octet in octets) + ")",
        "(?i:" + "".join(rf"\\+u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True)) + ")",
    ]
    if char == " ":
        forms.append(r"\+")
    if char in "\n\r\t":
        forms.append(r"\\+" + repr(char)[-2])
    return f"(?:{'|'.join(forms)})"


def protect_dsn(dsn: str) -> None:
    """Protect the password of a connection string, as written and decoded."""
    parts = urllib.parse.urlsplit(dsn)
    query = urllib.parse.parse_qs(parts.query)
    for password in (parts.password, *query.get("password", ()), *query.get("passfile", ())):
        if password:
            protect(password)
            protect(urllib.parse.unquote(password))


def scrub(text: str) -> str:
    """`text` without protected values and without what looks like a secret."""
    for form in _protected.values():
        text = form.sub(HIDDEN, text)
    if "signature" in text.lower():
        text = _SIGNED.sub(HIDDEN, text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def redact(value: Any, depth: int = 0) -> Any:
    """`value` as JSON can hold it, without secrets: those of secret-sounding keys, and those in any text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and str(value) not in _protected and abs(value) < _LARGEST:
        return float(value) if isinstance(value, float) else int(value)
    if isinstance(value, str):
        text = scrub(str(value)).replace("\0", "\\0")  # which PostgreSQL cannot hold, nor UTF-8 half a surrogate pair
        return text.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, bytes | bytearray | memoryview):
        return redact(bytes(value).decode("utf-8", "backslashreplace"))
    if depth == _DEEPEST:
        return "..."
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): _redact_entry(str(key), entry, depth + 1) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(entry, depth + 1) for entry in value]
    if isinstance(value, BaseException):
        return redact(repr(value))
    return redact(str(value))


def _redact_entry(key: str, value: Any, depth: int) -> Any:
    return HIDDEN if value is not None and _SECRET_KEY.fullmatch(key) else redact(value, depth)


def _redact_event(_logger: Any, _method: str, event: EventDict) -> EventDict:
    return {scrub(key): _redact_entry(key, value, 1) for key, value in event.items()}


def _name_first(_logger: Any, _method: str, event: EventDict) -> EventDict:
    first = {key: event.pop(key) for key in ("timestamp", "level", "event", "logger") if key in event}
    return {**first, **event}


def _render(_logger: Any, _method: str, event: EventDict) -> str:
    return msgspec.json.encode(event).decode()


class _Ours(logging.Filter):
    """Other people's loggers speak from WARNING on, whatever level they set themselves."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or record.name.partition(".")[0] in _OURS


class _Quiet(logging.StreamHandler[TextIO]):
    """Says that a line could not be written, and why, without the line: the standard report prints it raw."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the standard library's name
        fault = sys.exception()
        sys.stderr.write(f"a log line of {record.name} could not be written: {type(fault).__name__}\n")


class _OwnersFile(_Quiet, logging.handlers.RotatingFileHandler):
    """Rotates by size; nobody but its owner may read it."""

    def _open(self) -> TextIOWrapper:
        return open(  # noqa: SIM115  # the handler closes it
            self.baseFilename, "a", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)
        )


class _LineFormatter(structlog.stdlib.ProcessorFormatter):
    """The pipeline, or where a record breaks it a line that says so: the standard report prints the record raw."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            return super().format(record)
        except Exception as error:  # any foreign object's __str__ or __repr__ may raise anything
            fault = {"level": "error", "event": "log_line_lost", "logger": record.name, "error": type(error).__name__}
            return msgspec.json.encode(fault).decode()


def log_file(state: Path) -> Path:
    return state / "logs" / "bot.jsonl"


def configure(
    file: Path | None = None,
    *,
    level: str = "info",
    stream: TextIO | None = None,
    max_bytes: int = 20_000_000,
    kept: int = 5,
) -> None:
    """Send every log line to `file` (readable by its owner only, `kept` old ones of `max_bytes`), else to stderr.

    `level` is that of our own loggers. May be called again; the last call counts.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    formatter = _LineFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _redact_event, _name_first, _render],
    )
    _install(_handler(file, stream, max_bytes, kept), formatter, logging.getLevelNamesMapping()[level.upper()])
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    _catch_the_uncaught(file)


def _handler(file: Path | None, stream: TextIO | None, max_bytes: int, kept: int) -> logging.Handler:
    if file is None:
        return _Quiet(stream if stream is not None else sys.stderr)
    file.parent.mkdir(parents=True, exist_ok=True)
    return _OwnersFile(file, maxBytes=max_bytes, backupCount=kept, encoding="utf-8")


def _install(handler: logging.Handler, formatter: logging.Formatter, level: int) -> None:
    handler.setFormatter(formatter)
    handler.addFilter(_Ours())
    root = logging.getLogger()
    others = [logger for logger in logging.Logger.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    for logger in (root, *others):  # a handler that a library brought would print past the pipeline
        for old in list(logger.handlers):
            logger.removeHandler(old)
            old.close()
        logger.propagate = True
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(True)


def _catch_the_uncaught(file: Path | None) -> None:
    log = structlog.get_logger("bot")

    def of_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            log.critical("uncaught_exception", exc_info=(kind, error, trace))
            if file is not None:  # whoever sits at the terminal would see nothing
                sys.stderr.write(f"crashed with {kind.__name__}; what happened is in {file}\n")

    def of_thread(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None and not isinstance(arguments.exc_value, SystemExit):
            log.critical("uncaught_exception_in_thread", exc_info=arguments.exc_value)

    def of_finalizer(arguments: "sys.UnraisableHookArgs") -> None:
        log.error("unraisable_exception", exc_info=arguments.exc_value, note=arguments.err_msg)

    sys.excepthook = of_process
    threading.excepthook = of_thread
    sys.unraisablehook = of_finalizer
