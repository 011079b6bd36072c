"""Fixtures that every room's tests share."""

import logging
import os
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import structlog

from bot.commands.starting import importing

CHECKOUT = Path(__file__).resolve().parent.parent
os.environ.pop("COLUMNS", None)  # a parallel worker has it from its terminal, and tables would be cut to it


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Half a million objects of imported packages are not looked through for garbage while tests run."""
    with importing():
        return (yield)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A command that configures the logs of its process does so for the tests after it too."""
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    yield
    logging.captureWarnings(False)
    structlog.reset_defaults()
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
    root.setLevel(before[0])
    root.handlers[:] = before[1]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real market data beside the checkout; a test that asks for it is skipped where there is none."""
    data = CHECKOUT.parent / "shared" / "data"
    if not data.is_dir():
        pytest.skip(f"real market data not present: {data}")
    return data
