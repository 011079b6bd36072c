"""What was tried to make a pass faster, each with its price in accuracy."""

import statistics
from collections.abc import Callable, Sequence

import msgspec
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks import accuracy, int8
from benchmarks.accuracy import Agreement, predicted_returns
from benchmarks.package import Package
from benchmarks.products import Products
from benchmarks.report import Cell, Table
from benchmarks.timing import interleave, quotient
from bot.clock import Stopwatch
from bot.forecast.engine import Engine
from bot.messages import Floats

COLUMNS = ("what", "ms", "÷ usual", *accuracy.COLUMNS[1:], "against what, and what came of it")


class Tried:
    """Collects the rows. Each way is measured in turn with the usual one: the engine's pass without adapters."""

    def __init__(self, engine: Engine, batches: Sequence[Floats], horizon: int, rounds: int) -> None:
        self._engine, self._batches, self._horizon, self._rounds = engine, batches, horizon, rounds
        self._rows: list[tuple[Cell, ...]] = []

    def table(self) -> Table:
        return Table(
            title="What was tried",
            columns=COLUMNS,
            rows=tuple(self._rows),
            notes=(f"The agreement is {accuracy.NOTE}",),
        )

    def threads(self) -> None:
        usual = torch.get_num_threads()

        def on(count: int) -> Callable[[], object]:
            def case() -> None:
                torch.set_num_threads(count)
                self._pass()

            return case

        try:
            for count in sorted({1, *(2**power for power in range(1, 8) if 2**power < usual), usual}):
                self._measure(
                    f"torch threads: {count}", on(count), on(usual), None, f"against {usual}, torch's own choice"
                )
        finally:
            torch.set_num_threads(usual)

    def flip(self) -> None:
        usual = self._engine.options

        def without() -> None:
            self._engine.options = msgspec.structs.replace(usual, flip_invariance=False)
            self._pass()
            self._engine.options = usual

        def returns(closes: Floats) -> Floats:
            self._engine.options = msgspec.structs.replace(usual, flip_invariance=False)
            found = self._returns(closes)
            self._engine.options = usual
            return found

        agreement = accuracy.compare(self._returns, returns, self._batches)
        self._measure("flip invariance off", without, self._pass, agreement, "half the work; another forecast")

    def attention(self) -> None:
        """Moves only what the engine gives to torch's attention: long contexts on a CPU, everything on a GPU."""

        def plain() -> None:
            with sdpa_kernel(SDPBackend.MATH):
                self._pass()

        self._measure("SDPA's plain products", plain, self._pass, None, "against torch's choice among its SDPA kernels")

    def float32(self, exact: Engine) -> None:
        agreement = accuracy.compare(predicted_returns(exact, self._horizon), self._returns, self._batches)
        self._measure(
            "float32",
            lambda: exact.forecast(self._batches[0], self._horizon),
            self._pass,
            agreement,
            f"{name_of(self._engine.dtype)} is the usual; its agreement with float32",
        )

    def int8(self, package: Package, products: Products) -> None:
        """Ends `package`: its layers compute in 8 bits from then on."""
        if self._engine.device.type != "cpu" or not int8.supported():
            self._rows.append(("int8 weights and inputs", *(None,) * (len(COLUMNS) - 2), "no such product here"))
            return

        def returns(closes: Floats) -> Floats:
            point = package.one_batch(closes, self._horizon)[:, -1, self._engine.spec.point_channel]
            return point / closes[:, -1] - 1

        exact = iter([returns(closes) for closes in self._batches])
        rows = products.operands[0][0].shape[0]
        int8.quantise_layers(package.module, rows)
        agreement = accuracy.compare(lambda _: next(exact), returns, self._batches)
        quick = int8.Int8Products(products)
        note = f"the products alone, inputs quantised on the way, against {name_of(self._engine.dtype)}"
        self._measure("int8 weights and inputs", quick.run, products.run, agreement, note)

    def compiled(self, package: Package) -> None:
        """The package's own default. Takes minutes; `package` is compiled from then on."""

        def case() -> object:
            return package.one_batch(self._batches[0], self._horizon)

        before = interleave({"package": case}, self._rounds)["package"]
        package.module.forward = torch.compile(package.module.forward)
        warm_up = Stopwatch()
        case()
        note = f"the package's batch with its torch.compile, against without; {warm_up.seconds:.0f} s to warm up"
        after = interleave({"package": case}, self._rounds)["package"]
        self._add("torch.compile", after, before, None, note)

    def _measure(
        self,
        what: str,
        case: Callable[[], object],
        usual: Callable[[], object],
        agreement: Agreement | None,
        note: str,
    ) -> None:
        taken = interleave({"case": case, "usual": usual}, self._rounds)
        self._add(what, taken["case"], taken["usual"], agreement, note)

    def _add(
        self, what: str, took: Sequence[float], usual: Sequence[float], agreement: Agreement | None, note: str
    ) -> None:
        found = agreement.cells[1:] if agreement is not None else (None,) * (len(accuracy.COLUMNS) - 1)
        self._rows.append((what, statistics.median(took) * 1e3, quotient(took, usual), *found, note))

    def _pass(self) -> None:
        self._engine.forecast(self._batches[0], self._horizon)

    def _returns(self, closes: Floats) -> Floats:
        return predicted_returns(self._engine, self._horizon)(closes)


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
