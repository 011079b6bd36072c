"""Fixtures that every room's tests share."""

from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


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
