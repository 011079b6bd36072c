"""What is not known of the real venue, each as a switch: a client must get along with it both ways."""

from typing import Literal

import msgspec


class Switches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The defaults are what is most likely true. `docs/simulator.md` says what each is about."""

    reduce_only_algo_while_flat: bool = True  # False: -2022
    trigger_price_on_tick: bool = True  # False: any trigger price is taken
    duplicate_algo_code: int = -4116
    algos_count_as_orders: bool = False  # in MAX_NUM_ORDERS
    position_lag_ms: int = 0  # how long after it was opened a position is unknown to reduce-only conditional orders
    position_lag_code: Literal[-2022, -4118] = -2022
    liquidation_cancels_algos: bool = True
    liquidation_fill_stays_new: bool = False  # X of the execution CALCULATED
    countdown_cancels_algos: bool = False
    open_algos_enveloped: bool = False  # {"orders": [...]}
    acks_with_average: bool = False  # avgPrice and cumQuote in the answers to placing and cancelling, as before 2026-07
    trade_lite: bool = True
    account_update_first: bool = False  # before the ORDER_TRADE_UPDATE of the same fill
    user_stream_name: str = ""  # what a combined private frame calls its stream; empty: the listen key
    private_events_needed: bool = False  # a private address with a listenKey and no `events` is silent
