"""The command `generate`: a seeded market as Parquet files."""

from pathlib import Path

from rich.console import Console

from bot.commands.output import configure_logs
from bot.errors import OperatorError
from bot.exchange.simulator.generator import GeneratedMarket
from bot.exchange.simulator.server import market_of
from bot.replay import MarketOptions


def write_market(out: Path, symbols: tuple[str, ...], *, start: str | None, days: int, seed: int, profile: str) -> None:
    """Write it to `out`, which may hold nothing yet: a replay would mix what was there with what is new."""
    configure_logs()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OperatorError(f"{out}: expected a folder that does not exist yet, or is empty")
    wanted = MarketOptions(start=start, days=days, seed=seed, profile=profile)
    market = market_of(wanted.options(symbols, "10000", 0, until_stdin_closes=False))
    if not isinstance(market, GeneratedMarket):
        raise OperatorError("only a generated market can be written")
    market.write_parquet(out)
    bars = sum(len(one) for one in market.bars.values())
    console = Console(stderr=True)
    console.print(f"{bars:,} bars of {len(symbols)} symbols written to {out}", highlight=False, soft_wrap=True)
    day = wanted.first_day(market.start)
    console.print(
        f"replay them: python -m bot run VARIANT.toml --bars {out} --from {day}", highlight=False, soft_wrap=True
    )
