"""The official SDK as a client of the simulator."""

import functools
from typing import Any

from anyio.to_thread import run_sync
from binance_common.configuration import ConfigurationRestAPI, ConfigurationWebSocketStreams
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import DerivativesTradingUsdsFutures


class Sdk:
    """The SDK's synchronous calls in worker threads; answers as plain JSON shapes."""

    def __init__(self, client: DerivativesTradingUsdsFutures) -> None:
        self.client = client

    async def response(self, method: str, **params: Any) -> Any:
        return await run_sync(functools.partial(getattr(self.client.rest_api, method), **params))

    async def __call__(self, method: str, **params: Any) -> Any:
        data = (await self.response(method, **params)).data()
        if isinstance(data, list):
            return [row.to_dict() if hasattr(row, "to_dict") else row for row in data]
        if hasattr(data, "actual_instance"):
            data = data.actual_instance
        if isinstance(data, list):
            return [row.to_dict() for row in data]
        return data.to_dict() if hasattr(data, "to_dict") else data


def client(addresses: Any, *, key: str = "sim-key", secret: str = "sim-secret") -> DerivativesTradingUsdsFutures:
    made = DerivativesTradingUsdsFutures(
        config_rest_api=ConfigurationRestAPI(
            api_key=key, api_secret=secret, base_path=addresses.rest_url, timeout=5000, retries=0
        ),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=addresses.stream_url),
    )
    made.rest_api._session.trust_env = False
    return made
