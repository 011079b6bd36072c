"""Each kind of call and of stream tried once, at the start and daily: what has stopped working is told early."""

from collections.abc import Awaitable, Callable, Mapping

from bot.clock import DAY_MS, HOUR_MS, MINUTE_MS, Clock
from bot.errors import OperatorError, VenueError
from bot.exchange.port import MarketPort, TradingPort
from bot.messages import BotEvent, Severity

LISTEN_MS = MINUTE_MS  # within which every stream must have brought data


class Canary:
    """Asks, and changes nothing. `heard`: how many messages of each stream have come so far."""

    def __init__(
        self,
        market: MarketPort,
        trading: TradingPort,
        heard: Mapping[str, int],
        symbol: str,
        clock: Clock,
        report: Callable[[BotEvent], None],
    ) -> None:
        self._market = market
        self._trading = trading
        self._heard = heard
        self._symbol = symbol
        self._clock = clock
        self._report = report

    async def run(self) -> None:
        while True:
            await self.sing()
            await self._clock.sleep_until(self._clock.now() + DAY_MS)

    async def sing(self) -> None:
        before = dict(self._heard)
        failed = {name: why for name, probe in self._probes().items() if (why := await _try(probe))}
        await self._clock.sleep_until(self._clock.now() + LISTEN_MS)
        for stream, count in self._heard.items():
            if count <= before.get(stream, 0):
                failed[f"stream {stream}"] = f"no data within {LISTEN_MS // 1_000} seconds"
        if failed:
            self._tell("canary_failed", Severity.ERROR, failed=failed)
        else:
            self._tell("canary_ok", Severity.INFO, tried=[*self._probes(), *self._heard])

    def _probes(self) -> dict[str, Callable[[], Awaitable[object]]]:
        now, market, trading = self._clock.now(), self._market, self._trading
        return {
            "time": market.server_time,
            "exchange_info": market.instruments,
            "bars": lambda: market.bars(self._symbol, HOUR_MS, now - 3 * HOUR_MS, now),
            "account_mode": trading.check_account,
            "account": trading.worth,
            "balance": trading.wallet,
            "positions": trading.positions,
            "open_orders": trading.open_orders,
            "income": lambda: trading.funding(now - HOUR_MS),
            "brackets": trading.margin_brackets,
        }

    def _tell(self, name: str, severity: Severity, **detail: object) -> None:
        self._report(BotEvent(at=self._clock.now(), name=name, severity=severity, detail=detail))


async def _try(probe: Callable[[], Awaitable[object]]) -> str:
    """Why it failed; empty where it did not."""
    try:
        await probe()
    except (VenueError, OperatorError) as error:
        return f"{type(error).__name__}: {error}"
    return ""
