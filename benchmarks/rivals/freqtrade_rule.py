"""The common rule in freqtrade, as a user runs it, the whole process: `python freqtrade_rule.py FOLDER`.

Its own `backtesting` command. One method is replaced, so that no exchange is asked which markets there are. The hold is
`minimal_roi` at minute 240, its cheapest form. The seconds are those of the process that backtests, from outside.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

STRATEGY = """
import talib.abstract as ta
from freqtrade.strategy import IStrategy

FEE = 0.0005

class CommonRule(IStrategy):
    INTERFACE_VERSION = 3
    timeframe = "5m"
    startup_candle_count = 0
    # freqtrade's return is after fees: what a move of +3 % leaves
    minimal_roi = {"0": 1.03 * (1 - FEE) / (1 + FEE) - 1, "240": -1}
    stoploss = -0.02
    use_exit_signal = False
    order_types = {"entry": "market", "exit": "market", "stoploss": "market", "stoploss_on_exchange": False}

    def populate_indicators(self, frame, metadata):
        frame["rsi"] = ta.RSI(frame, timeperiod=14)
        return frame

    def populate_entry_trend(self, frame, metadata):
        frame.loc[(frame["rsi"] < 30) & (frame["rsi"].shift(1) >= 30), "enter_long"] = 1
        return frame

    def populate_exit_trend(self, frame, metadata):
        return frame
"""


def main(folder: Path) -> None:
    import freqtrade

    home = folder / "freqtrade"
    write(folder, home)
    command = [sys.executable, __file__, "--", "backtesting", "--config", str(home / "config.json"), "--userdir"]
    command += [str(home), "--strategy", "CommonRule", "--cache", "none", "--export", "none"]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    counts = [
        line.split("│")[2].strip() for line in done.stdout.splitlines() if line.startswith("│") and "TOTAL" in line
    ]
    trades = int(counts[0]) if counts else None
    json.dump({"version": freqtrade.__version__, "seconds": seconds, "trades": trades}, sys.stdout)


def write(folder: Path, home: Path) -> None:
    """The bars, the strategy and the configuration where freqtrade looks for them."""
    import pandas as pd

    data = home / "data" / "binance"
    for place in (data, home / "strategies", home / "backtest_results", home / "logs"):
        place.mkdir(parents=True)
    (home / "strategies" / "CommonRule.py").write_text(STRATEGY)
    pairs = []
    for path in sorted(folder.glob("*.npy")):
        base = path.stem.removesuffix("USDT")
        pairs.append(f"{base}/USDT")
        table = np.load(path)
        frame = pd.DataFrame(table[:, 1:], columns=["open", "high", "low", "close", "volume"])
        opened = pd.to_datetime(table[:, 0].astype(np.int64), unit="ms", utc=True)
        frame.insert(0, "date", opened.astype("datetime64[ms, UTC]"))
        frame.to_feather(data / f"{base}_USDT-5m.feather", compression_level=9, compression="lz4")
    pricing = {"price_side": "other", "use_order_book": False, "order_book_top": 1}
    config = {
        "max_open_trades": len(pairs), "stake_currency": "USDT", "stake_amount": 100, "dry_run": True,
        "dry_run_wallet": 1_000_000, "trading_mode": "spot", "margin_mode": "", "fee": 0.0005, "timeframe": "5m",
        "entry_pricing": pricing, "exit_pricing": pricing, "dataformat_ohlcv": "feather",
        "exchange": {"name": "binance", "key": "", "secret": "", "pair_whitelist": pairs, "pair_blacklist": []},
        "pairlists": [{"method": "StaticPairList"}], "user_data_dir": str(home), "datadir": str(data),
    }  # fmt: skip
    (home / "config.json").write_text(json.dumps(config))


def backtest(arguments: list[str]) -> None:
    from freqtrade.exchange.exchange import Exchange
    from freqtrade.main import main as freqtrade

    config = json.loads(Path(arguments[arguments.index("--config") + 1]).read_text())

    def made_up(self, reload=False):
        self._api_async.set_markets({pair: market(pair) for pair in config["exchange"]["pair_whitelist"]})

    Exchange._load_async_markets = made_up
    os.environ["COLUMNS"] = "200"
    freqtrade(arguments)


def market(pair: str):
    base = pair.split("/")[0]
    kinds = dict.fromkeys(("margin", "swap", "future", "option", "contract"), False)
    limits = {"amount": {"min": 1e-6, "max": 1e12}, "price": {"min": 1e-3, "max": 1e9}, "cost": {"min": 1.0}}
    return kinds | {
        "id": f"{base}USDT", "symbol": pair, "base": base, "quote": "USDT", "baseId": base, "quoteId": "USDT",
        "active": True, "type": "spot", "spot": True, "taker": 0.0005, "maker": 0.0005, "info": {},
        "precision": {"amount": 1e-6, "price": 1e-3}, "limits": limits,
    }  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1] == "--":
        backtest(sys.argv[2:])
    else:
        main(Path(sys.argv[1]))
