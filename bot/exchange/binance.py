"""TradingPort over Binance's official SDK: signed calls in worker threads, read by our own structs.

The SDK is used for what it owns (paths, parameters, signing). Three of its ways are replaced, all in this module:

- Its models quietly fall back to raw dicts and its errors drop the body of a 5xx. A response hook on its session keeps
  status and body of each answer, and those alone decide (`answers`).
- It signs with the machine's clock. `binance_common.utils.get_timestamp` is patched once, when this module is imported,
  with a function that asks the clock of the call under way (a context variable, so several ports can live together).
- It retries by itself. `retries=0`: the caller knows better what may be repeated.

A request that has been handed to a worker thread is always awaited, even when its caller is cancelled.
"""

import functools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from decimal import Decimal
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import binance_common.errors
import binance_common.utils
import msgspec
import requests
import urllib3.exceptions
from binance_common.configuration import ConfigurationRestAPI
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import DerivativesTradingUsdsFutures

from bot.clock import Clock
from bot.config import ExchangeTable, Secrets
from bot.errors import OperatorError, VenueDisagrees, VenueRejected, VenueUnavailable
from bot.exchange import account_wire, answers, wire
from bot.exchange.account_wire import AccountInformation
from bot.exchange.answers import LOOK, READ, SPARED_WRITE, WRITE, Answer, Ask, NoAnswer
from bot.exchange.budget import COSTS, RequestBudget
from bot.exchange.contract import Surprise, hear, unheard
from bot.exchange.order_parameters import algo_parameters, order_parameters
from bot.exchange.port import standing
from bot.venue import (
    Book,
    Fill,
    FundingPaid,
    MarginBracket,
    OrderReport,
    OrderRequest,
    Transfer,
    VenuePosition,
    VenueStatus,
    Worth,
)

T = TypeVar("T")

PAGE = 1_000  # rows, the largest that userTrades and income give
ORDER_THREADS = 2
ACCOUNT_THREADS = 2  # apart, so that paging through fills cannot hold up an order


class _Call:
    """One SDK call under way in a worker thread."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.answer: Answer | None = None


_call: ContextVar[_Call | None] = ContextVar("_call", default=None)
_machine_timestamp: Callable[[], int] = binance_common.utils.get_timestamp


def _timestamp() -> int:
    call = _call.get()
    return _machine_timestamp() if call is None else call.clock.now()


binance_common.utils.get_timestamp = _timestamp


async def _no_resync() -> bool:
    return False


class BinanceTrading:
    """TradingPort. `budget` is shared with whoever else asks this venue from this machine.

    `resync` sets `clock` anew by the venue's and says whether it could: it is called when the venue refuses a call for
    its timestamp, which is then signed again once, the same in all else.
    """

    def __init__(
        self,
        secrets: Secrets,
        rest_url: str,
        clock: Clock,
        table: ExchangeTable,
        budget: RequestBudget,
        surprised: Surprise = unheard,
        resync: Callable[[], Awaitable[bool]] = _no_resync,
    ) -> None:
        configuration = ConfigurationRestAPI(
            api_key=secrets.api_key,
            api_secret=secrets.api_secret,
            base_path=rest_url,
            timeout=table.timeout_ms,
            retries=0,
            compression=False,  # the SDK would ask for brotli, which requests cannot read here
        )
        self._api: Any = DerivativesTradingUsdsFutures(config_rest_api=configuration).rest_api
        self._api._session.trust_env = False  # no proxy and no ~/.netrc from the environment
        self._api._session.hooks["response"].append(self._keep)
        self._clock = clock
        self._window = {"recv_window": table.recv_window_ms}
        self._budget = budget
        self._surprised = surprised
        self._resync = resync
        self._order_threads = anyio.CapacityLimiter(ORDER_THREADS)
        self._account_threads = anyio.CapacityLimiter(ACCOUNT_THREADS)

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._api._session.close()

    async def place(self, request: OrderRequest) -> OrderReport:
        ask = SPARED_WRITE if request.reduce_only else WRITE
        try:
            if request.kind.book is Book.ALGO:
                return await self._ask(
                    ask, wire.AlgoAnswer.report, wire.AlgoAnswer, self._api.new_algo_order, **algo_parameters(request)
                )
            return await self._ask(
                ask, wire.OrderAnswer.report, wire.OrderAnswer, self._api.new_order, **order_parameters(request)
            )
        except VenueRejected as refusal:
            if refusal.code != answers.DUPLICATE_CLIENT_ID:
                raise
            return await standing(self, request.symbol, request.client_id, request.kind.book)

    async def cancel(self, symbol: str, client_id: str, book: Book) -> OrderReport | None:
        try:
            if book is Book.REGULAR:
                return await self._ask(
                    SPARED_WRITE,
                    wire.OrderAnswer.report,
                    wire.OrderAnswer,
                    self._api.cancel_order,
                    symbol=symbol,
                    orig_client_order_id=client_id,
                )
            await self._ask(
                SPARED_WRITE, _itself, wire.AlgoCancelled, self._api.cancel_algo_order, client_algo_id=client_id
            )
        except VenueRejected as refusal:
            if refusal.code == answers.NO_SUCH_OPEN_ORDER:
                return None
            raise
        report = await standing(self, symbol, client_id, book)
        if report.status is VenueStatus.NEW:  # the query lags behind the cancel that was just confirmed
            return msgspec.structs.replace(report, status=VenueStatus.CANCELED)
        return report

    async def find(self, symbol: str, client_id: str, book: Book) -> OrderReport | None:
        if book is Book.ALGO:
            return await self._known(wire.AlgoAnswer, self._api.query_algo_order, client_algo_id=client_id)
        return await self._known(wire.OrderAnswer, self._api.query_order, symbol=symbol, orig_client_order_id=client_id)

    async def find_by_id(self, symbol: str, venue_id: int) -> OrderReport | None:
        return await self._known(wire.OrderAnswer, self._api.query_order, symbol=symbol, order_id=venue_id)

    async def _known(
        self,
        kind: type[wire.OrderAnswer] | type[wire.AlgoAnswer],
        method: Callable[..., object],
        **parameters: object,
    ) -> OrderReport | None:
        try:
            return await self._ask(LOOK, kind.report, kind, method, **parameters)
        except VenueRejected as refusal:
            if refusal.code == answers.NO_SUCH_ORDER:
                return None
            raise

    async def open_orders(self) -> Sequence[OrderReport]:
        regular = await self._ask(LOOK, _reports, list[wire.OrderAnswer], self._api.current_all_open_orders)
        algo = await self._ask(LOOK, wire.open_algo_orders, msgspec.Raw, self._api.current_all_algo_open_orders)
        return [*regular, *algo]

    async def positions(self) -> Sequence[VenuePosition]:
        rows = await self._ask(LOOK, _positions, list[wire.PositionRisk], self._api.position_information_v3)
        return [position for position in rows if position.quantity != 0]

    async def fills(self, symbol: str, from_trade_id: int) -> Sequence[Fill]:
        found: list[Fill] = []
        while True:
            page = await self._ask(
                READ,
                _fills,
                list[wire.UserTrade],
                self._api.account_trade_list,
                symbol=symbol,
                from_id=from_trade_id,
                limit=PAGE,
            )
            found += sorted(page, key=lambda fill: fill.trade_id)
            if len(page) < PAGE:
                return found
            from_trade_id = found[-1].trade_id + 1

    async def funding(self, since: int) -> Sequence[FundingPaid]:
        rows = await self._income(since, income_type="FUNDING_FEE")
        return sorted(_funding(rows), key=lambda paid: (paid.at, paid.income_id))

    async def transfers(self, since: int) -> Sequence[Transfer]:
        return account_wire.transfers(await self._income(since))

    async def _income(self, since: int, **kind: str) -> list[wire.Income]:
        """Every row at or after `since`, of one kind or of all; an id counts within its kind."""
        found: dict[tuple[str, int], wire.Income] = {}
        while True:
            page = await self._ask(
                READ,
                _itself,
                list[wire.Income],
                self._api.get_income_history,
                start_time=since,
                limit=PAGE,
                **kind,
            )
            known = len(found)
            found |= {(row.income_type, row.tran_id): row for row in page}
            if len(page) < PAGE:
                return list(found.values())
            newest = max(row.time for row in page)
            since = newest if len(found) > known and newest > since else newest + 1

    async def wallet(self) -> Decimal:
        return await self._ask(READ, _usdt, list[wire.Balance], self._api.futures_account_balance_v3)

    async def worth(self) -> Worth:
        return await self._ask(READ, AccountInformation.worth, AccountInformation, self._api.account_information_v3)

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        await self._ask(
            WRITE, _itself, wire.LeverageAnswer, self._api.change_initial_leverage, symbol=symbol, leverage=leverage
        )

    async def margin_brackets(self) -> dict[str, tuple[MarginBracket, ...]]:
        return await self._ask(READ, _brackets, list[wire.LeverageBrackets], self._api.notional_and_leverage_brackets)

    async def set_countdown(self, symbol: str, ms: int) -> None:
        await self._ask(
            WRITE, _itself, msgspec.Raw, self._api.auto_cancel_all_open_orders, symbol=symbol, countdown_time=ms
        )

    async def check_account(self) -> None:
        method = self._api.futures_account_configuration
        fault = await self._ask(READ, wire.AccountConfig.fault, wire.AccountConfig, method)
        if fault:
            raise OperatorError(f"account: {fault}")

    async def _ask(
        self, ask: Ask, translate: Callable[[Any], T], kind: Any, method: Callable[..., object], **parameters: object
    ) -> T:
        """Call `method` of the SDK; its answer as `kind`, translated, or the error that it means."""
        send = functools.partial(method, **parameters, **self._window)
        name: str = method.__name__
        try:
            return await self._ask_once(ask, translate, kind, name, send)
        except VenueUnavailable as unavailable:
            if unavailable.code not in answers.CLOCK_IS_OFF or not await self._resync():
                raise
        return await self._ask_once(ask, translate, kind, name, send)

    async def _ask_once(
        self, ask: Ask, translate: Callable[[Any], T], kind: Any, name: str, send: Callable[[], object]
    ) -> T:
        self._budget.spend(self._clock.now(), COSTS[name], protective=ask.protective)
        threads = self._order_threads if ask.write else self._account_threads
        answer = await anyio.to_thread.run_sync(self._exchange, send, limiter=threads)
        now = self._clock.now()
        if isinstance(answer, Answer):
            self._budget.note(answer.counts, now)
        try:
            return translate(answers.read_answer(answer, kind, ask, now))
        except VenueDisagrees as unreadable:
            hear(self._surprised, name, unreadable)
            raise answers.unclear(str(unreadable), ask) from unreadable
        except VenueRejected as refusal:
            if refusal.code in answers.OTHER_RULES:
                self._surprised(name, str(refusal))
            raise
        except VenueUnavailable as unavailable:
            if unavailable.code == answers.TOO_MANY_ORDERS:
                self._budget.out_of_orders(now)
            elif unavailable.retry_at is not None:
                self._budget.close(unavailable.retry_at)
            raise

    def _exchange(self, send: Callable[[], object]) -> Answer | NoAnswer:
        """One request and its answer; runs in a worker thread."""
        call = _Call(self._clock)
        token = _call.set(call)
        try:
            send()
        except binance_common.errors.RequiredError:
            raise
        except binance_common.errors.NetworkError as error:
            if call.answer is None:
                cause = error.__cause__  # its text would repeat the signed query
                return NoAnswer(f"no answer: {type(cause).__name__}", sent=not _was_never_sent(cause))
        except (binance_common.errors.Error, ValueError, AttributeError):
            pass  # the SDK's reading of an answer that `_keep` has whole; judged from there
        finally:
            _call.reset(token)
        return call.answer or NoAnswer("the SDK gave no answer", sent=True)

    def _keep(self, response: requests.Response, *_: object, **__: object) -> None:
        """Response hook: the whole body is read here, so that a torn one counts as no answer."""
        call = _call.get()
        body = response.content
        if call is not None:
            counts = answers.counts_of(response.headers)
            call.answer = Answer(response.status_code, body, response.headers.get("Retry-After"), counts)


def _was_never_sent(cause: BaseException | None) -> bool:
    """Whether the connection itself could not be made: then no request can have been executed."""
    if isinstance(cause, requests.exceptions.ConnectTimeout):
        return True
    if not isinstance(cause, requests.exceptions.ConnectionError) or not cause.args:
        return False
    reason = getattr(cause.args[0], "reason", None)  # urllib3's MaxRetryError inside requests' error
    return isinstance(reason, urllib3.exceptions.NewConnectionError)


def _itself(payload: T) -> T:
    return payload


def _reports(rows: list[wire.OrderAnswer]) -> list[OrderReport]:
    return [row.report() for row in rows]


def _positions(rows: list[wire.PositionRisk]) -> list[VenuePosition]:
    return [row.position() for row in rows]


def _fills(rows: list[wire.UserTrade]) -> list[Fill]:
    return [row.fill() for row in rows]


def _funding(rows: Iterable[wire.Income]) -> list[FundingPaid]:
    """What was paid in USDT; the account may hold positions of its owner's that pay in another asset."""
    return [row.funding_paid() for row in rows if row.asset == "USDT"]


def _brackets(rows: list[wire.LeverageBrackets]) -> dict[str, tuple[MarginBracket, ...]]:
    return {row.symbol: row.margin_brackets() for row in rows}


def _usdt(rows: list[wire.Balance]) -> Decimal:
    for row in rows:
        if row.asset == "USDT":
            return row.balance
    raise VenueDisagrees("the balance has no row for USDT")
