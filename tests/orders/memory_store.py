"""An OrderStore in memory: what the database keeps, as copies."""

import copy
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from bot.messages import Position, PositionStatus
from bot.orders.states import LIVE
from bot.orders.store import AttributedFill
from bot.venue import Fill, FundingPaid, OrderRow


class Totals(msgspec.Struct):
    realized_pnl: Decimal
    fees: Decimal
    funding: Decimal
    fills: int
    last_funding_at: int | None
    net: Mapping[str, Decimal]


class MemoryStore:
    def __init__(self) -> None:
        self.at_hand = True
        self.orders: dict[str, OrderRow] = {}
        self.positions: dict[str, Position] = {}
        self.fills: dict[tuple[str, int], Fill] = {}
        self.funding: dict[int, FundingPaid] = {}
        self.facts: dict[str, object] = {}
        self.untold: list[Position] = []  # signals' rows are not kept here
        self.lost_intents: list[str] = []

    async def save(
        self,
        orders: Sequence[OrderRow] = (),
        positions: Sequence[Position] = (),
        fills: Sequence[AttributedFill] = (),
        funding: Sequence[FundingPaid] = (),
    ) -> None:
        self.orders |= {row.client_id: copy.deepcopy(row) for row in orders}
        self.positions |= {p.position_id: copy.deepcopy(p) for p in positions}
        for fill, _, _ in fills:
            self.fills.setdefault((fill.symbol, fill.trade_id), fill)
        for payment in funding:
            self.funding.setdefault(payment.income_id, payment)

    async def load_open_positions(self) -> list[Position]:
        return [copy.deepcopy(p) for p in self.positions.values() if p.status is not PositionStatus.CLOSED]

    async def load_position(self, position_id: str) -> Position | None:
        return copy.deepcopy(self.positions.get(position_id))

    async def load_live_orders(self) -> list[OrderRow]:
        return [copy.deepcopy(row) for row in self.orders.values() if row.state in LIVE]

    async def load_untold(self) -> list[Position]:
        return copy.deepcopy(self.untold)

    async def load_lost_intents(self) -> list[str]:
        return list(self.lost_intents)

    async def load_orders(self, position_ids: Sequence[str]) -> list[OrderRow]:
        return [copy.deepcopy(row) for row in self.orders.values() if row.position_id in position_ids]

    async def find_order(self, client_id: str) -> OrderRow | None:
        return copy.deepcopy(self.orders.get(client_id))

    async def ledger(self) -> Totals:
        net: dict[str, Decimal] = {}
        for fill in self.fills.values():
            net[fill.symbol] = net.get(fill.symbol, Decimal(0)) + (fill.quantity if fill.buy else -fill.quantity)
        return Totals(
            realized_pnl=sum((f.realized_pnl for f in self.fills.values()), Decimal(0)),
            fees=sum((f.fee for f in self.fills.values()), Decimal(0)),
            funding=sum((p.amount for p in self.funding.values()), Decimal(0)),
            fills=len(self.fills),
            last_funding_at=max((p.at for p in self.funding.values()), default=None),
            net=net,
        )

    async def fill_ids(self, since: Mapping[str, int]) -> set[tuple[str, int]]:
        return {key for key in self.fills if key[1] >= since.get(key[0], 0)}

    async def income_ids(self, since: int) -> set[int]:
        return {p.income_id for p in self.funding.values() if p.at >= since}

    async def get_fact(self, key: str) -> Any:
        return self.facts.get(key)

    async def set_fact(self, key: str, value: object) -> None:
        self.facts[key] = copy.deepcopy(value)
