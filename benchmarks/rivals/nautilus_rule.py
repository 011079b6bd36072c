"""The common rule in NautilusTrader, `engine.run()` alone: `python nautilus_rule.py FOLDER`.

Its fastest settings that keep the rule: no log, no risk engine, no analysis. On bars a market order fills at the close
of the signal's bar, not at the next open.
"""

import json
import sys
import time
from decimal import Decimal
from pathlib import Path

import nautilus_trader
import numpy as np
import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, RiskEngineConfig, StrategyConfig
from nautilus_trader.indicators import MovingAverageType, RelativeStrengthIndex
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import AccountType, CurrencyType, OmsType, OrderSide, OrderType
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TraderId, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Currency, Money, Price, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy

VENUE = Venue("BINANCE")
HOLD, BOUND, STAKE = 48, 0.30, 100.0


class RuleConfig(StrategyConfig, frozen=True):
    instrument_id: InstrumentId
    bar_type: BarType


class Rule(Strategy):
    def __init__(self, config):
        super().__init__(config)
        self.strength = RelativeStrengthIndex(14, ma_type=MovingAverageType.WILDER)
        self.before = None
        self.held = 0
        self.trades = 0

    def on_start(self):
        self.instrument = self.cache.instrument(self.config.instrument_id)
        self.register_indicator_for_bars(self.config.bar_type, self.strength)
        self.subscribe_bars(self.config.bar_type)

    def on_bar(self, bar):
        instrument = self.config.instrument_id
        before, self.before = self.before, self.strength.value if self.strength.initialized else None
        if not self.portfolio.is_flat(instrument):
            self.held += 1
            if self.held >= HOLD:
                self.cancel_all_orders(instrument)
                self.close_all_positions(instrument)
            return
        if before is None or self.before >= BOUND or before < BOUND:
            return
        price = float(bar.close)
        self.held = 0
        self.trades += 1
        bracket = self.order_factory.bracket(
            instrument_id=instrument,
            order_side=OrderSide.BUY,
            quantity=self.instrument.make_qty(STAKE / price),
            entry_order_type=OrderType.MARKET,
            sl_trigger_price=self.instrument.make_price(price * 0.98),
            tp_price=self.instrument.make_price(price * 1.03),
        )
        self.submit_order_list(bracket)


def main(folder: Path) -> None:
    logging, risk = LoggingConfig(bypass_logging=True), RiskEngineConfig(bypass=True)
    trader = TraderId("BENCH-001")
    engine = BacktestEngine(
        BacktestEngineConfig(trader_id=trader, logging=logging, risk_engine=risk, run_analysis=False)
    )
    cash = [Money(1_000_000, USDT)]
    engine.add_venue(VENUE, OmsType.NETTING, AccountType.MARGIN, cash, default_leverage=Decimal(10))
    files = sorted(folder.glob("*.npy"))
    rules = []
    for number, path in enumerate(files):
        instrument, kind, bars = read(path)
        engine.add_instrument(instrument)
        engine.add_data(bars, sort=number == len(files) - 1)
        rules.append(Rule(RuleConfig(instrument_id=instrument.id, bar_type=kind, order_id_tag=f"{number:03d}")))
        engine.add_strategy(rules[-1])
    began = time.perf_counter()
    engine.run()
    seconds = time.perf_counter() - began
    trades = sum(rule.trades for rule in rules)
    json.dump({"version": nautilus_trader.__version__, "seconds": seconds, "trades": trades}, sys.stdout)


def read(path: Path):
    """The instrument, its kind of bars, and the bars, stamped at their close."""
    symbol, base = path.stem, path.stem.removesuffix("USDT")
    fee = Decimal("0.0005")
    instrument = CurrencyPair(
        instrument_id=InstrumentId(Symbol(symbol), VENUE),
        raw_symbol=Symbol(symbol),
        base_currency=Currency(base, 8, 0, base, CurrencyType.CRYPTO),
        quote_currency=USDT,
        price_precision=3,
        size_precision=6,
        price_increment=Price(1e-3, 3),
        size_increment=Quantity(1e-6, 6),
        margin_init=Decimal("0.05"),
        margin_maint=Decimal("0.03"),
        maker_fee=fee,
        taker_fee=fee,
        ts_event=0,
        ts_init=0,
    )
    table = np.load(path)
    closed = pd.to_datetime(table[:, 0].astype(np.int64) + 300_000, unit="ms", utc=True)
    frame = pd.DataFrame(table[:, 1:], columns=["open", "high", "low", "close", "volume"], index=closed)
    kind = BarType.from_str(f"{symbol}.BINANCE-5-MINUTE-LAST-EXTERNAL")
    return instrument, kind, BarDataWrangler(kind, instrument).process(frame)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
