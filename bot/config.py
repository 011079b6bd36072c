"""The one config tree: frozen structs, TOML in, secrets from the environment only."""

import os
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from bot.config_faults import not_finite, unknown_key, wrong_value
from bot.errors import OperatorError

_LARGEST = 1_000_000_000  # of any number that has no better bound; keeps inf and typing errors out
Positive = Annotated[float, msgspec.Meta(gt=0, le=_LARGEST)]
Percent = Annotated[float, msgspec.Meta(gt=0, le=100)]
PercentOrOff = Annotated[float, msgspec.Meta(ge=0, le=100)]
Scale = Annotated[float, msgspec.Meta(gt=0, le=10)]
Count = Annotated[int, msgspec.Meta(ge=1, le=_LARGEST)]
Minute = Annotated[int, msgspec.Meta(ge=1, le=59)]  # at 0 the hour's bar is not there yet
Name = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,24}\Z", description="a name of 1 to 24 letters, digits, _ or -")
]
Symbol = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Z0-9]{5,20}\Z", description='a symbol of the venue such as "BTCUSDT"')
]
RestUrl = Annotated[
    str, msgspec.Meta(pattern=r"^(https?://\S+)?\Z", description="an http:// or https:// address, or empty")
]
StreamUrl = Annotated[str, msgspec.Meta(pattern=r"^(wss?://\S+)?\Z", description="a ws:// or wss:// address, or empty")]
Option = Annotated[
    float | int | str | bool | list[int | str],
    msgspec.Meta(description="a number, a text, true or false, or a list of whole numbers and texts"),
]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every TOML table: an unknown key is an error."""


class VariantTable(Table, frozen=True):
    name: Name
    tier: Name
    symbols: Annotated[tuple[Symbol, ...], msgspec.Meta(min_length=1)]
    minutes: Annotated[tuple[Minute, ...], msgspec.Meta(min_length=1)] = (3, 33)
    entry: Name = "market"
    filters: tuple[Name, ...] = ()
    threshold_pct: Positive | None = None  # None: the tier's
    entry_ttl_minutes: Count = 60
    post_only: bool = False
    enabled: bool = True

    def __post_init__(self) -> None:
        for key in ("symbols", "minutes", "filters"):
            values = getattr(self, key)
            twice = [value for value in values if values.count(value) > 1]
            if twice:
                raise ValueError(f"{key} names {twice[0]} twice; expected each once")


class SizingTable(Table, frozen=True):
    """Keys left out are the tier's."""

    margin_usdt: Positive | None = None  # per position
    leverage: Annotated[int, msgspec.Meta(ge=1, le=125)] | None = None
    max_positions_per_symbol: Count | None = None
    max_positions: Count | None = None
    volatility_target_pct: Annotated[float, msgspec.Meta(ge=0, le=1_000)] | None = None  # a year; 0: off
    volatility_bars: Annotated[int, msgspec.Meta(ge=2, le=16_384)] | None = None
    volatility_scale_min: Scale | None = None
    volatility_scale_max: Scale | None = None
    volume_share_pct: PercentOrOff | None = None
    liquidation_buffer_pct: PercentOrOff | None = None
    funding_share_pct: PercentOrOff | None = None


class ExitsTable(Table, frozen=True):
    """Keys left out are the tier's; 0 switches an optional rule off."""

    stop_pct: Percent | None = None
    target_pct: PercentOrOff | None = None
    trail_arm_pct: PercentOrOff | None = None
    trail_pct: PercentOrOff | None = None
    floor_arm_pct: PercentOrOff | None = None
    floor_keep_pct: PercentOrOff | None = None
    max_hold_minutes: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)] | None = None
    red_after_minutes: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)] | None = None
    close_at_session_end: bool | None = None


class VariantFile(Table, frozen=True):
    """One `deploy/variants/*.toml`."""

    variant: VariantTable
    sizing: SizingTable = SizingTable()
    exits: ExitsTable = ExitsTable()
    filter: dict[str, dict[str, Option]] = {}
    entry: dict[str, dict[str, Option]] = {}


class ModelTable(Table, frozen=True):
    base: str = "nano"  # a directory below `checkpoints/`, a path, or "google/timesfm-2.5-200m-pytorch"
    context: Annotated[int, msgspec.Meta(ge=32, le=16384, multiple_of=32)] = 192
    horizon: Annotated[int, msgspec.Meta(ge=1, le=128)] = 4
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: Annotated[int, msgspec.Meta(ge=0, le=1_024)] = (
        0  # 0: one for a small model, torch's own choice for a large
    )
    deadline_seconds: Positive = 120.0
    memory_limit_mb: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)] = 0  # of the whole process; 0: no ceiling
    max_input_distance: Annotated[float, msgspec.Meta(ge=0, le=_LARGEST)] = 0.0  # 0: no window is too far


class ExchangeTable(Table, frozen=True):
    rest_url: RestUrl = ""  # empty: the venue's own
    stream_url: StreamUrl = ""
    timeout_ms: Count = 5_000
    recv_window_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)] = 5_000
    silence_seconds: Positive = 90.0


class AccountTable(Table, frozen=True):
    client_prefix: Annotated[
        str, msgspec.Meta(pattern=r"^[A-Za-z0-9]{1,6}\Z", description="1 to 6 letters or digits")
    ] = "tsb"
    max_positions: Count = 44
    starting_balance: Positive = 10_000.0  # replay only


class OrdersTable(Table, frozen=True):
    prearm_stops: bool = True
    check_seconds: Annotated[int, msgspec.Meta(ge=5, le=3_600)] = 60
    watch_seconds: Annotated[int, msgspec.Meta(ge=1, le=300)] = 5
    dead_man_seconds: Annotated[int, msgspec.Meta(ge=0, le=3_600)] = 120  # 0: off


Release = Annotated[
    Literal["day", "manual"] | Annotated[int, msgspec.Meta(ge=1, le=_LARGEST)],
    msgspec.Meta(description='"day", "manual" or a whole number of minutes from 1'),
]


class GuardsTable(Table, frozen=True):
    """When the account opens nothing more; 0 as a limit switches a guard off."""

    day_drawdown_pct: PercentOrOff = 5.0
    day_drawdown_release: Release = "day"
    drawdown_pct: PercentOrOff = 20.0
    drawdown_release: Release = "manual"
    daily_loss_pct: PercentOrOff = 4.0
    daily_loss_release: Release = "day"
    losing_streak: Annotated[int, msgspec.Meta(ge=0, le=100)] = 8
    losing_streak_release: Release = 240
    check_minutes: Annotated[int, msgspec.Meta(ge=1, le=60)] = 10
    unknown_after_minutes: Count = 30
    agree_pct: Percent = 0.5

    def __post_init__(self) -> None:
        if self.unknown_after_minutes <= self.check_minutes:
            raise ValueError("unknown_after_minutes must be more than check_minutes")


GUARDS_OFF = GuardsTable(day_drawdown_pct=0, drawdown_pct=0, daily_loss_pct=0, losing_streak=0)


class JournalTable(Table, frozen=True):
    dsn_env: str = "BOT_DSN"  # name of the environment variable with the DSN; unset: the embedded server
    answer_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=60)] = 3.0  # a database that is silent for longer is away
    spool_mb: Annotated[int, msgspec.Meta(ge=2, le=100_000)] = 256  # what may wait on the disk for it


class AuditTable(Table, frozen=True):
    days: Annotated[int, msgspec.Meta(ge=1, le=365)] = 7  # that filters, thresholds and exit rules are judged on


class CostsTable(Table, frozen=True):
    """What a fill that nobody paid for is taken to cost: of counterfactuals, whose orders were never sent."""

    maker_fee_pct: Annotated[float, msgspec.Meta(ge=-1, le=1)] = 0.02  # of the notional; below 0: a rebate
    taker_fee_pct: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.05
    slippage_bps: Annotated[float, msgspec.Meta(ge=0, le=1_000)] = 1.0  # of every fill but a resting limit's


class MetricsTable(Table, frozen=True):
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0  # on 127.0.0.1; 0: nothing is served


class BotFile(Table, frozen=True):
    """`deploy/bot.toml`, all of it optional."""

    model: ModelTable = ModelTable()
    exchange: ExchangeTable = ExchangeTable()
    account: AccountTable = AccountTable()
    orders: OrdersTable = OrdersTable()
    guards: GuardsTable = GuardsTable()
    journal: JournalTable = JournalTable()
    metrics: MetricsTable = MetricsTable()
    audit: AuditTable = AuditTable()
    costs: CostsTable = CostsTable()


class Secrets(msgspec.Struct, frozen=True):
    """Never in a file, a log or a repr."""

    api_key: str
    api_secret: str

    def __repr__(self) -> str:
        return "Secrets(***)"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Secrets":
        missing = [name for name in ("BINANCE_API_KEY", "BINANCE_API_SECRET") if not environment.get(name)]
        if missing:
            raise OperatorError(f"environment: {' and '.join(missing)} must be set to trade on this venue")
        return cls(environment["BINANCE_API_KEY"], environment["BINANCE_API_SECRET"])


TableT = TypeVar("TableT", bound=Table)


def read_toml(path: Path, kind: type[TableT]) -> TableT:
    """Decode one TOML file into `kind`; every fault is one OperatorError that names file and key."""
    return decode(parse_toml(path), kind, str(path))


def parse_toml(path: Path) -> dict[str, Any]:
    """The tables of one file as they stand there. OperatorError where it cannot be read or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OperatorError(f"{path}: no such file") from None
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}") from None
    except RecursionError:
        raise OperatorError(f"{path}: not TOML that can be read: nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, an integer of thousands of digits
        raise OperatorError(f"{path}: not TOML: {error}") from None


def decode(raw: dict[str, Any], kind: type[TableT], source: str) -> TableT:
    """Make `kind` of parsed TOML; every fault is one OperatorError of one line that starts with `source`."""
    fault = unknown_key(raw, kind) or not_finite(raw)
    if fault:
        raise OperatorError(f"{source}: {fault}")
    try:
        return msgspec.convert(raw, kind, strict=True)
    except msgspec.ValidationError as error:
        raise OperatorError(f"{source}: {wrong_value(error, raw, kind)}") from None


def money(value: float) -> Decimal:
    """A configured amount as the Decimal that a person meant (0.1 is 0.1)."""
    return Decimal(str(value))
