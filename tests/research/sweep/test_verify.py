"""Where sweep and backtest are not the same, it is told trade by trade."""

from decimal import Decimal

from bot.research.sweep.verify import Difference, compared

FACTS = ("LONG", 1_000, Decimal("100.1"), 2_000, Decimal("103.0"), "target")


def test_equal_trades_say_nothing() -> None:
    assert compared(("BTCUSDT", 5), FACTS, FACTS) == []


def test_a_missing_trade_and_another_price_are_told() -> None:
    other = (*FACTS[:4], Decimal("102.9"), "trailing_stop")
    assert compared(("BTCUSDT", 5), FACTS, None) == [Difference("BTCUSDT", 5, "trade", "one", "none")]
    assert compared(("BTCUSDT", 5), FACTS, other) == [
        Difference("BTCUSDT", 5, "exit_price", "103.0", "102.9"),
        Difference("BTCUSDT", 5, "reason", "target", "trailing_stop"),
    ]
