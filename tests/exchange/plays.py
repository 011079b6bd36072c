"""Plays: what happens to a matching engine, one step a line, and the lines that are told of it afterwards.

The tick is 0.1, the step 0.001, maker 2 bps, taker 5 bps, slippage 10 bps, the wallet 10000, the leverage 20.
Orders: KIND SIDE QUANTITY [@ PRICE] CLIENT_ID [word...]; stops and targets are reduce-only unless `open` is said.
"""

from decimal import Decimal

from msgspec.structs import replace

from bot.exchange.matching import AlgoUpdated, Engine, MarginCalled, NewAlgo, NewOrder, OrderUpdated, Settings
from bot.venue import Instrument

D = Decimal
SYMBOL = "SOLUSDT"
KINDS = {"stop": "STOP_MARKET", "target": "TAKE_PROFIT_MARKET"}


def venue(**settings: object) -> Engine:
    instrument = Instrument(
        symbol=SYMBOL,
        tick_size=D("0.1"),
        step_size=D("0.001"),
        min_quantity=D("0.001"),
        max_quantity=D(10_000),
        max_market_quantity=D(10_000),
        min_notional=D(5),
    )
    chosen = {"market_slippage_bps": D(10), "partial_fill_probability": 0.0, "percent_price": D(1)} | settings
    instruments = {SYMBOL: instrument, "ETHUSDT": replace(instrument, symbol="ETHUSDT")}
    return Engine(instruments, D(10_000), Settings(**chosen))  # type: ignore[arg-type]


def play(engine: Engine, text: str) -> Engine:
    for line in filter(None, map(str.strip, text.splitlines())):
        engine.step(engine.now + 1)
        verb, *words = line.split()
        match verb:
            case "last":
                engine.on_price(SYMBOL, D(words[0]))
            case "gap":
                engine.on_price(SYMBOL, D(words[0]), gap=True)
            case "mark":
                engine.on_mark(SYMBOL, D(words[0]))
            case "funding":
                engine.pay_funding(SYMBOL, D(words[0]))
            case "cancel":
                engine.cancel(SYMBOL, client_id=words[0])
            case "limit" | "market":
                _place(engine, verb, words)
            case "stop" | "target":
                _place_algo(engine, verb, words)
            case _:
                raise AssertionError(line)
    return engine


def _split(words: list[str]) -> tuple[str, Decimal, Decimal | None, str, list[str]]:
    side, quantity, *rest = words
    price = D(rest[1]) if rest[0] == "@" else None
    client_id, *flags = rest[2:] if price is not None else rest
    return side.upper(), D(quantity), price, client_id, flags


def _place(engine: Engine, verb: str, words: list[str]) -> None:
    side, quantity, price, client_id, flags = _split(words)
    time_in_force = next((flag for flag in flags if flag.isupper()), "GTC")
    engine.place(
        NewOrder(
            symbol=SYMBOL,
            side=side,
            type=verb.upper(),
            quantity=quantity,
            price=price,
            time_in_force=time_in_force if price is not None else None,
            reduce_only="reduce" in flags,
            client_id=client_id,
        )
    )


def _place_algo(engine: Engine, verb: str, words: list[str]) -> None:
    side, quantity, price, client_id, flags = _split(words)
    close = "close" in flags
    engine.place_algo(
        NewAlgo(
            symbol=SYMBOL,
            side=side,
            type=KINDS[verb],
            quantity=None if close else quantity,
            trigger_price=price,
            reduce_only=not close and "open" not in flags,
            close_position=close,
            working_type="MARK_PRICE" if "mark" in flags else "CONTRACT_PRICE",
            client_id=client_id,
        )
    )


def plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def told_fills(engine: Engine) -> list[str]:
    return [
        f"{fill.client_id} {'buy' if fill.buy else 'sell'} {plain(fill.quantity)} @ {plain(fill.price)} "
        f"{'maker' if fill.maker else 'taker'} fee {plain(fill.fee)} pnl {plain(fill.realized_pnl)}"
        for fill in engine.fills
    ]


def told_events(engine: Engine) -> list[str]:
    told = []
    for event in engine.take_events():
        match event:
            case OrderUpdated(order=order, execution=execution):
                reason = f" er={order.expire_reason}" if order.expire_reason else ""
                told.append(f"order {order.client_id} {execution} {order.status}{reason}")
            case AlgoUpdated(algo=algo):
                told.append(f"algo {algo.client_id} {algo.status} {algo.reject_reason}".strip())
            case MarginCalled():
                told.append("margin call")
            case _:
                told.append(f"account {event.reason} {plain(event.wallet)}")
    return told
