"""History over REST without a key: pages of bars, of the mark price, and of funding rates, as the venue tells them."""

from decimal import Decimal

import polars as pl

from bot.exchange import wire
from bot.exchange.budget import Cost, cost_of_klines
from bot.exchange.budget import Kind as Limit
from bot.exchange.payload import Payload
from bot.exchange.rest import PAGE_BARS, Rest
from bot.history import bars, funding
from bot.history.layout import INTERVAL_NAME, Kind

PAGE_RATES = 1_000
PATHS: dict[Kind, str] = {"bars": "/fapi/v1/klines", "mark": "/fapi/v1/markPriceKlines"}


class FundingRow(Payload, frozen=True, kw_only=True):
    funding_time: int
    funding_rate: Decimal


class PublicHistory(Rest):
    """Every call raises VenueRejected or VenueUnavailable, no other venue error. Nothing is judged here."""

    async def bars_page(self, symbol: str, interval_ms: int, kind: Kind, start: int, end: int) -> pl.DataFrame:
        """The first bars with start <= open_time < end, at most `PAGE_BARS`, the open one too."""
        rows = await self._ask(
            "GET",
            PATHS[kind],
            list[wire.KlineRow],
            cost_of_klines(PAGE_BARS),
            symbol=symbol,
            interval=INTERVAL_NAME[interval_ms],
            startTime=str(start),
            endTime=str(end - 1),
            limit=str(PAGE_BARS),
        )
        schema = bars.SCHEMA if kind == "bars" else bars.MARK_SCHEMA
        columns = {name: [float(getattr(row, name)) for row in rows] for name in schema if name != "open_time"}
        return pl.DataFrame({"open_time": [row.open_time for row in rows], **columns}, schema=schema)

    async def rates_page(self, symbol: str, start: int, end: int) -> pl.DataFrame:
        """The first payments with start <= time < end, at most `PAGE_RATES`."""
        rows = await self._ask(
            "GET",
            "/fapi/v1/fundingRate",
            list[FundingRow],
            Cost(),
            symbol=symbol,
            startTime=str(start),
            endTime=str(end - 1),
            limit=str(PAGE_RATES),
        )
        columns = {
            "funding_time": [row.funding_time for row in rows],
            "rate": [float(row.funding_rate) for row in rows],
        }
        return pl.DataFrame(columns, schema=funding.SCHEMA)

    def used_weight(self, now: int) -> int:
        """What this minute's requests from our address have weighed, everybody's, as far as we know."""
        return self._budget.windows[Limit.WEIGHT_1M].spent(now)
