"""What the exchange, or a person with the account's password, does on purpose: each with its own request."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from bot.clock import HOUR_MS
from bot.exchange.matching.records import NewAlgo, NewOrder, Rejection
from bot.exchange.simulator import market_payloads, user_events
from bot.exchange.simulator.sockets import encoder
from bot.exchange.simulator.truth import plain
from bot.exchange.simulator.world import World

STATUSES = ("PENDING_TRADING", "TRADING", "PRE_SETTLE", "SETTLING", "CLOSE")
FUNDING_HOURS = (1, 2, 4, 8)
CONTRACT_STREAM = "!contractInfo"


class Intervention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Amounts are written as text. Raises Rejection where the exchange itself could not do it."""

    def apply(self, world: World) -> None:
        raise NotImplementedError


class Mark(Intervention, tag="mark", frozen=True, kw_only=True):
    """The mark price jumps there and keeps its distance from the last price; without a price it follows again."""

    symbol: str
    price: Decimal | None = None

    def apply(self, world: World) -> None:
        world.set_mark(self.symbol, self.price)


class HandOrder(Intervention, tag="order", frozen=True, kw_only=True):
    """An order that another client of the account places."""

    symbol: str
    side: str
    type: str = "MARKET"
    quantity: Decimal
    price: Decimal | None = None
    trigger_price: Decimal | None = None  # of a conditional order
    reduce_only: bool = False
    client_id: str = "web_by-hand"

    def apply(self, world: World) -> None:
        if self.trigger_price is None:
            world.engine.place(
                NewOrder(
                    symbol=self.symbol,
                    side=self.side,
                    type=self.type,
                    quantity=self.quantity,
                    price=self.price,
                    time_in_force="GTC" if self.type == "LIMIT" else None,
                    reduce_only=self.reduce_only,
                    client_id=self.client_id,
                )
            )
            return
        world.engine.place_algo(
            NewAlgo(
                symbol=self.symbol,
                side=self.side,
                type=self.type,
                quantity=self.quantity,
                price=self.price,
                trigger_price=self.trigger_price,
                reduce_only=self.reduce_only,
                client_id=self.client_id,
            )
        )


class HandCancel(Intervention, tag="cancel", frozen=True, kw_only=True):
    """Another client of the account cancels an order, ours or not, of either book."""

    symbol: str
    client_id: str

    def apply(self, world: World) -> None:
        if any(algo.client_id == self.client_id for algo in world.engine.open_algos(self.symbol)):
            world.engine.cancel_algo(client_id=self.client_id)
        else:
            world.engine.cancel(self.symbol, client_id=self.client_id)


class DropAlgo(Intervention, tag="drop_algo", frozen=True, kw_only=True):
    """The exchange expires a conditional order by itself."""

    client_id: str

    def apply(self, world: World) -> None:
        algo = world.engine.algo(client_id=self.client_id)
        if not algo.is_open:
            raise Rejection(-2011, "Unknown order sent.")
        world.engine.expire_algo(algo.algo_id)


class Liquidate(Intervention, tag="liquidate", frozen=True, kw_only=True):
    """All orders expire and the largest position is closed at its mark price, needed or not."""

    def apply(self, world: World) -> None:
        world.engine.liquidate()


class Deleverage(Intervention, tag="adl", frozen=True, kw_only=True):
    """So much of a position, or all of it, is closed against a trader who was liquidated."""

    symbol: str
    quantity: Decimal | None = None

    def apply(self, world: World) -> None:
        held = abs(world.engine.position(self.symbol).quantity)
        world.engine.deleverage(self.symbol, held if self.quantity is None else self.quantity)


class Settle(Intervention, tag="settle", frozen=True, kw_only=True):
    """The contract ends: SETTLING, its orders expire, its position is closed at the mark price."""

    symbol: str

    def apply(self, world: World) -> None:
        world.engine.settle_symbol(self.symbol)
        tell_contract(world, self.symbol)


class Status(Intervention, tag="status", frozen=True, kw_only=True):
    """Another status of a symbol; what rests stays."""

    symbol: str
    status: str

    def apply(self, world: World) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status: one of {', '.join(STATUSES)}")
        world.engine.set_status(self.symbol, self.status)
        tell_contract(world, self.symbol)


class Filters(Intervention, tag="filters", frozen=True, kw_only=True):
    """Other filters of a symbol; what is not named stays. Prices that are played are rounded to the new tick."""

    symbol: str
    tick_size: Decimal | None = None
    step_size: Decimal | None = None
    min_quantity: Decimal | None = None
    min_notional: Decimal | None = None

    def apply(self, world: World) -> None:
        named = ("tick_size", "step_size", "min_quantity", "min_notional")
        changes = {name: value for name in named if (value := getattr(self, name)) is not None}
        if any(value <= 0 for value in changes.values()):
            raise ValueError("filters: above 0")
        world.change_instrument(msgspec.structs.replace(world.engine.instrument(self.symbol), **changes))
        tell_contract(world, self.symbol)


class Leverage(Intervention, tag="leverage", frozen=True, kw_only=True):
    """The exchange sets a symbol's leverage, whatever the account can carry."""

    symbol: str
    leverage: int

    def apply(self, world: World) -> None:
        if self.leverage < 1:
            raise ValueError("leverage: 1 at least")
        world.engine.impose_leverage(self.symbol, self.leverage)
        world.publish_user("ACCOUNT_CONFIG_UPDATE", user_events.leverage_event(self.symbol, self.leverage, world.now))


class MarginType(Intervention, tag="margin_type", frozen=True, kw_only=True):
    """A symbol's margin type is said to be another. The margin itself stays cross."""

    symbol: str
    margin_type: str

    def apply(self, world: World) -> None:
        if self.margin_type not in ("CROSSED", "ISOLATED"):
            raise ValueError("margin_type: CROSSED or ISOLATED")
        world.engine.instrument(self.symbol)
        world.margin_types[self.symbol] = self.margin_type


class PositionMode(Intervention, tag="position_mode", frozen=True, kw_only=True):
    """Hedge mode, or back, whatever is open."""

    dual_side: bool

    def apply(self, world: World) -> None:
        world.dual_side = self.dual_side


class MultiAssets(Intervention, tag="multi_assets", frozen=True, kw_only=True):
    on: bool

    def apply(self, world: World) -> None:
        world.multi_assets = self.on
        world.publish_user("ACCOUNT_CONFIG_UPDATE", user_events.multi_assets_event(self.on, world.now))


class FundingInterval(Intervention, tag="funding_interval", frozen=True, kw_only=True):
    """Funding of a symbol is told to come in another rhythm. What is paid follows the market that is played."""

    symbol: str
    hours: int

    def apply(self, world: World) -> None:
        if self.hours not in FUNDING_HOURS:
            raise ValueError(f"hours: one of {', '.join(map(str, FUNDING_HOURS))}")
        world.engine.instrument(self.symbol)
        length = self.hours * HOUR_MS
        world.funding_ms[self.symbol] = length
        if (quote := world.quotes.get(self.symbol)) is not None:
            quote.next_funding_at = world.now - world.now % length + length


AnyIntervention = (
    Mark
    | HandOrder
    | HandCancel
    | DropAlgo
    | Liquidate
    | Deleverage
    | Settle
    | Status
    | Filters
    | Leverage
    | MarginType
    | PositionMode
    | MultiAssets
    | FundingInterval
)


def intervene(world: World, wanted: AnyIntervention) -> None:
    """Do it, tell the streams, write it down. Raises Rejection or ValueError and then has done nothing."""
    wanted.apply(world)
    world.log.add(world.now, "intervention", **dict(_told(wanted)))
    world.settle()


def tell_contract(world: World, symbol: str) -> None:
    engine = world.engine
    shape = market_payloads.contract_event(
        engine.instrument(symbol), engine.status(symbol), engine.brackets(symbol), world.now
    )
    world.hub.publish(CONTRACT_STREAM, encoder.encode(shape))


def _told(wanted: AnyIntervention) -> Iterator[tuple[str, Any]]:
    yield "kind", type(wanted).__struct_config__.tag
    for name in wanted.__struct_fields__:
        value = getattr(wanted, name)
        yield name, plain(value) if isinstance(value, Decimal) else value
