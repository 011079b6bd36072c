"""The model room's figures, all of one run on one machine: `python -m benchmarks.model`."""

import statistics
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import torch
import typer
from rich.console import Console
from safetensors.torch import load_file

from benchmarks import weights, windows
from benchmarks.agreement import compare_dtypes
from benchmarks.package import Package
from benchmarks.pause import longest_pause
from benchmarks.process_memory import BotRun, measurable
from benchmarks.products import Products, Shape, shapes
from benchmarks.report import Cell, Machine, Report, Row, Table, describe_machine, show, utc_now, write
from benchmarks.residency import load_seconds, swap_seconds
from benchmarks.timing import interleave, quotient
from benchmarks.tried import Tried, name_of
from bot.commands.output import configure_logs
from bot.forecast.checkpoints import WEIGHTS, load
from bot.forecast.engine import Dtype
from bot.forecast.memory import Ceiling
from bot.forecast.network import SPEC_200M, ModelSpec
from bot.forecast.serving import ACTIVE, Serving
from bot.messages import Floats

HORIZON = 4
IN_USE = 5  # of the six adapters
SPECS = {"200m": SPEC_200M, "nano": ModelSpec(layers=2, model_dims=32, hidden_dims=32, heads=2, quantile_patch=128)}

Times = dict[str, list[float]]


class Bench:
    """One engine with its adapters, the package with the same weights, and what was measured of them."""

    def __init__(self, state: Path, size: str, dtype: Dtype, rounds: int, bars: Path | None) -> None:
        self.directory = state / "bench" / "checkpoints" / size
        self.name = f"random-{size}"
        self.rounds = rounds
        self.rows: list[Row] = []
        self.tables: dict[str, Table] = {}
        self._say = Console(stderr=True, highlight=False).print
        self._required = size == "200m" and not torch.cuda.is_available()  # the figures are promised for these alone
        self.say(f"weights in {self.directory}")
        spec = SPECS[size]
        weights.write_base(self.directory, self.name, spec)
        tensors = load_file(self.directory / self.name / WEIGHTS)
        weights.write_adapters(self.directory, self.name, weights.matrices_of(tensors, spec))
        loaded = load(self.name, self.directory, dtype=dtype)
        self.engine = loaded.engine
        self.threads = torch.get_num_threads()
        self.base = weights.base_of(self.directory, self.name)
        choices = dict.fromkeys(weights.RANKS, ACTIVE)
        self.serving = Serving(loaded, self.directory, choices, Ceiling(0))
        self.package = Package(tensors, spec, self.engine.options, self.engine.context)
        self.batches = windows.generated(self.engine.context, moments=3)
        self.recorded = windows.recorded(bars, self.engine.context, moments=3) if bars else None
        used = list(weights.RANKS)[:IN_USE]
        self.tiers = tuple(used[row % IN_USE] for row in range(windows.COINS))
        patches = self.engine.context // spec.input_patch
        series = windows.COINS * (2 if self.engine.options.flip_invariance else 1)
        self.shapes = shapes(spec, series, patches)
        self.products = Products(self.shapes, self.engine.dtype, self.engine.device)

    @property
    def closes(self) -> Floats:
        return self.batches[0]

    def say(self, what: str) -> None:
        self._say(what)

    def machine(self) -> Machine:
        gpu = torch.cuda.get_device_name() if self.engine.device.type == "cuda" else None
        return describe_machine(dtype=name_of(self.engine.dtype), threads=self.threads, gpu=gpu)

    def row(
        self, figure: str, value: float | None, unit: str, better: Literal["higher", "lower"], *limits: float
    ) -> None:
        required, aim = limits if self._required else (None, None)
        self.rows.append(Row(figure=figure, value=value, unit=unit, required=required, aim=aim, better=better))

    def mixed(self) -> object:
        return self.serving.forecast(self.closes, self.tiers, HORIZON)

    def plain(self) -> object:
        return self.engine.forecast(self.closes, HORIZON)


def passes(bench: Bench) -> None:
    """The package, the engine and the products against one another."""
    bench.say("the package, one coin after another")
    package, closes = bench.package, bench.closes
    one_by_one = interleave(
        {"package, one coin after another": lambda: package.one_after_another(closes, HORIZON), "mixed": bench.mixed},
        (bench.rounds + 2) // 3,
    )
    bench.say("the package, one batch; the engine; the matrix products")
    cases = {
        "package, one batch of 41": lambda: package.one_batch(closes, HORIZON),
        "engine, 41 rows on 5 adapters": bench.mixed,
        "engine, no adapter": bench.plain,
        "the trunk's matrix products alone": bench.products.run,
    }
    batch = interleave(cases, bench.rounds)
    bench.say("the engine with and without adapters")
    pairs = interleave({"mixed": bench.mixed, "plain": bench.plain}, 2 * bench.rounds)
    package_batch, mixed, plain, alone = (batch[name] for name in cases)
    singles = one_by_one["package, one coin after another"]
    bench.row("package, one coin after another ÷ engine, 41 coins in one mixed-adapter pass",
              quotient(singles, one_by_one["mixed"]), "times", "higher", 15, 25)  # fmt: skip
    bench.row("package, one batch of 41, no adapters ÷ engine with adapters",
              quotient(package_batch, mixed), "times", "higher", 2.5, 4)  # fmt: skip
    bench.row("engine, no adapter ÷ the trunk's matrix products", quotient(plain, alone), "times", "lower", 2.5, 1.5)
    bench.row(
        "engine, mixed adapters ÷ no adapter", quotient(pairs["mixed"], pairs["plain"]), "times", "lower", 1.10, 1.03
    )
    bench.tables["times"] = _times(one_by_one | batch)
    bench.tables["products"] = _products(bench.shapes, min(alone), bench.engine.dtype)


def residency(bench: Bench) -> None:
    """What it takes to put another adapter in place."""
    bench.say("adapters: loaded, swapped")
    tier = next(iter(weights.RANKS))
    loads = load_seconds(bench.serving, bench.directory, tier, weights.SPARES, bench.base)
    swaps = swap_seconds(bench.serving, bench.directory, tier, (weights.SPARES[0], weights.ADAPTER), bench.base, 20)
    bench.row("swap of an adapter: an activation is noticed, read and serves", statistics.median(swaps) * 1e3,
              "ms", "lower", 1, 0.01)  # fmt: skip
    bench.row("load of a new adapter from disk, verified and ready", statistics.median(loads), "s", "lower", 0.3, 0.1)


def loop(bench: Bench) -> None:
    bench.say("the event loop while the model works")
    pause = longest_pause(bench.mixed, bench.rounds)
    bench.row("event loop's longest pause during inference", pause * 1e3, "ms", "lower", 20, 5)


def process(bench: Bench, folder: Path) -> None:
    """The bot itself, as a child."""
    figure = f"peak memory of the bot's process, {bench.engine.parameters / 1e6:.0f}M parameters and 6 adapters"
    if not measurable():
        bench.row(f"{figure} (this system does not tell)", None, "GB", "lower", 1.2, 0.9)
        return
    bench.say("a day's replay of the whole bot")
    run = BotRun(folder, bench.directory, bench.name, tuple(weights.RANKS), windows.symbols())
    bench.row(figure, run.peak_gigabytes(days=1), "GB", "lower", 1.2, 0.9)


def accuracies(bench: Bench) -> None:
    bench.say("bfloat16 against float32")
    sources = {"generated market": bench.batches}
    if bench.recorded is not None:
        sources["recordings"] = bench.recorded
    bench.tables["accuracy"] = compare_dtypes({bench.name: bench.directory, "nano": None}, sources, HORIZON)
    torch.set_num_threads(bench.threads)  # a small model is loaded to run on one


def attempts(bench: Bench, *, compiled: bool) -> None:
    bench.say("what was tried")
    tried = Tried(bench.engine, bench.batches, HORIZON, bench.rounds)
    tried.threads()
    tried.flip()
    tried.attention()
    tried.float32(load(bench.name, bench.directory, dtype="float32").engine)
    if compiled:
        tried.compiled(bench.package)
    tried.int8(bench.package, bench.products)
    bench.tables["tried"] = tried.table()


def main(
    size: Annotated[str, typer.Option(help="200m | nano")] = "200m",
    state: Annotated[Path, typer.Option(envvar="BOT_STATE", help="Where weights and results are kept.")] = Path("var"),
    rounds: Annotated[int, typer.Option(min=1, help="Repeats of each measurement.")] = 7,
    dtype: Annotated[str, typer.Option(help="auto | float32 | bfloat16")] = "auto",
    bars: Annotated[
        Path | None, typer.Option(help="Recordings, SYMBOL-1h.parquet, to compare the precisions on.")
    ] = None,
    bot: Annotated[bool, typer.Option(help="Also run a whole bot, for its memory.")] = True,
    compiled: Annotated[bool, typer.Option("--compile", help="Also try the package's torch.compile: minutes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout instead of tables.")] = False,
) -> None:
    """Measure the model room and write STATE/bench/model.json."""
    configure_logs()
    begun, load_before = utc_now(), describe_machine().load
    chosen: Any = dtype
    bench = Bench(state, size, chosen, rounds, bars)
    passes(bench)
    residency(bench)
    loop(bench)
    if bot:
        process(bench, state / "bench" / "run")
    accuracies(bench)
    attempts(bench, compiled=compiled)
    report = Report(
        name="model",
        command=f"python -m benchmarks.model --size {size} --rounds {rounds}",
        measured_at=begun,
        machine=msgspec.structs.replace(bench.machine(), load=load_before),
        rows=tuple(bench.rows),
        tables=bench.tables,
    )
    path = write(report, state)
    show(report, as_json=as_json)
    bench.say(f"written to {path}")


def _times(times: Times) -> Table:
    rows = tuple(
        (name, statistics.median(seconds) * 1e3, min(seconds) * 1e3, len(seconds))
        for name, seconds in times.items()
        if name != "mixed"
    )
    return Table(title="Times", columns=("what", "median, ms", "least, ms", "repeats"), rows=rows)


def _products(counted: tuple[Shape, ...], seconds: float, dtype: torch.dtype) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (shape.name, shape.rows, shape.inputs, shape.outputs, shape.count, shape.flops / 1e9) for shape in counted
    ]
    total = sum(shape.flops for shape in counted)
    return Table(
        title="The matrix products that are the yardstick",
        columns=("product", "rows", "inputs", "outputs", "times", "GFLOP"),
        rows=(*rows, ("all", None, None, None, None, total / 1e9)),
        notes=(f"at best {total / seconds / 1e9:.0f} GFLOP/s in {name_of(dtype)}",),
    )


if __name__ == "__main__":
    typer.run(main)
