"""The house rules as tests: budgets, names, clocks, catches, suppressions, and what may not be written down.

Every exception stands in a table below, by file and with its reason.
"""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
LARGEST_FILE = 10_000_000  # bytes, tracked by git
BANNED_MODULES = {"utils", "util", "helpers", "helper", "common", "misc", "core", "manager"}
CLOCK_READS = {
    "time": {
        "time",
        "time_ns",
        "monotonic",
        "monotonic_ns",
        "perf_counter",
        "perf_counter_ns",
        "localtime",
        "gmtime",
        "sleep",
    },
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "anyio": {"current_time"},
}
LOG_METHODS = {"debug", "info", "warning", "error", "critical", "exception"}
LOGGERS = {"log", "_log", "logger", "_logger"}
PLUGIN_IMPORTS = {"bot", "plugins", "numpy"} | set(sys.stdlib_module_names)

MAY_READ_A_CLOCK = {
    "benchmarks/decide.py": "a benchmark measures real time",
    "benchmarks/process_memory.py": "looks at another process in real time",
    "benchmarks/report.py": "says when it was measured",
    "benchmarks/rivals/freqtrade_rule.py": "another package's process is timed",
    "benchmarks/rivals/nautilus_rule.py": "another package's engine is timed",
    "benchmarks/rivals/vectorbt_rule.py": "another package's engine is timed",
    "benchmarks/soak.py": "looks at another process in real time",
    "bot/clock.py": "it is the clock",
    "bot/exchange/simulator/lockstep.py": "the simulator makes the domain's time, at a pace of real time",
    "bot/exchange/simulator/sockets.py": "bounds the messages of a connection per second of real time",
    "bot/run.py": "the report says how long the run took in real time",
    "bot/terminal/view.py": "the terminal redraws in real time",
    "bot/training/base.py": "a training run is measured in real time",
}
MAY_IMPORT_ASYNCIO: dict[str, str] = {}
MAY_CATCH_EVERYTHING = {
    "bot/logs.py": "any object's __str__ may raise anything, and a line that breaks may not print its secrets raw",
    "bot/plugin_host.py": "a plugin is foreign code: whatever it raises becomes a refusal that names it",
}
MAY_PRINT = {
    "bot/logs.py": "says on stderr that a line could not be written",
}

MACHINE_PATHS = re.compile(
    r"\.\./shared"
    r"|(?<![\w.])/work\b"
    r"|(?<![\w.])/tmp/"
    r"|/opt/(pypi|wheels)"
    r"|https?://\S*(pypi|pythonhosted|artifactory|nexus|registry)"
)
SUPPRESSION = re.compile(r"#\s*(noqa|type:\s*ignore|ruff:|mypy:|pragma:|pyright:)")
SUPPRESSION_WITH_REASON = re.compile(r"#\s*(noqa: [A-Z]+\d+(, ?[A-Z]+\d+)*|type: ignore\[[a-z, -]+\])\s+# \S+ \S+")


def sources() -> list[Path]:
    return sorted(path for room in ("bot", "plugins", "benchmarks") for path in (CHECKOUT / room).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=name(path))


@cache
def product_files() -> list[Path]:
    """What is tracked, or would be: everything that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT, capture_output=True, check=True, text=True,
    )  # fmt: skip
    return [CHECKOUT / entry for entry in listed.stdout.split("\0") if entry and (CHECKOUT / entry).is_file()]


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function's place, and the lines of its body without its docstring."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
            length = 0 if not body else (body[-1].end_lineno or 0) - body[0].lineno + 1
            yield f"{name(path)}:{node.lineno} {node.name}", length


def percentile(values: list[int], percent: int) -> int:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, len(ranked) * percent // 100)]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def none(faults: Iterable[str]) -> None:
    found = sorted(faults)
    assert not found, "\n" + "\n".join(found)


def none_outside(allowed: dict[str, str], found: Iterator[tuple[Path, str]]) -> None:
    none(f"{name(path)}{place}" for path, place in found if name(path) not in allowed)


# What is measured


def test_no_file_is_longer_than_400_lines() -> None:
    none(f"{name(path)}: {lines(path)}" for path in sources() if lines(path) > 400)


def test_most_files_are_short() -> None:
    lengths = [lines(path) for path in sources() if lines(path)]
    assert percentile(lengths, 50) <= 140  # between pykka's 78 and anyio's 205
    assert percentile(lengths, 90) <= 300


def test_no_function_is_longer_than_50_lines() -> None:
    none(f"{place}: {length}" for path in sources() for place, length in functions(path) if length > 50)


def test_most_functions_are_short() -> None:
    assert percentile([length for path in sources() for _, length in functions(path)], 90) <= 25


def test_no_tracked_file_is_larger_than_10_megabytes() -> None:
    none(name(path) for path in product_files() if path.stat().st_size > LARGEST_FILE)


def test_suppressions_are_few_and_each_has_a_reason() -> None:
    found = [
        (f"{name(path)}:{number}", line)
        for path in sources()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if SUPPRESSION.search(line)
    ]
    none(place for place, line in found if not SUPPRESSION_WITH_REASON.search(line))
    assert len(found) <= sum(lines(path) for path in sources()) / 500, [place for place, _ in found]


# What is banned


def test_no_module_is_a_dumping_ground() -> None:
    stems = ((path, {path.stem, path.parent.name}) for path in sources())
    none(name(path) for path, parts in stems if parts & BANNED_MODULES)


def test_every_module_says_what_it_is() -> None:
    none(name(path) for path in sources() if not ast.get_docstring(tree(path)))


def test_asyncio_stays_at_the_edges_that_need_it() -> None:
    def found() -> Iterator[tuple[Path, str]]:
        for path in sources():
            for line, module in imports(path):
                if module.split(".")[0] == "asyncio":
                    yield path, f":{line}"

    none_outside(MAY_IMPORT_ASYNCIO, found())


def test_no_task_is_started_outside_a_task_group() -> None:
    banned = {"create_task", "ensure_future", "gather", "run_coroutine_threadsafe"}
    calls = ((path, node) for path in sources() for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute))
    none(f"{name(path)}:{node.lineno} {node.attr}" for path, node in calls if node.attr in banned)


def test_nobody_but_the_clock_reads_a_clock() -> None:
    def found() -> Iterator[tuple[Path, str]]:
        for path in sources():
            for node in ast.walk(tree(path)):
                if isinstance(node, ast.Attribute):
                    owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
                    if node.attr in CLOCK_READS.get(owner, set()):
                        yield path, f":{node.lineno} {owner}.{node.attr}"
            for line, module in imports(path):
                owner, _, read = module.rpartition(".")
                if owner in ("time", "anyio") and read in CLOCK_READS[owner]:
                    yield path, f":{line} {module}"

    none_outside(MAY_READ_A_CLOCK, found())


def test_the_strategy_neither_waits_nor_touches_files() -> None:
    files = {"open", "read_text", "write_text", "read_bytes", "write_bytes", "stat", "exists", "is_file", "is_dir"}
    waits = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    none(
        f"{name(path)}:{node.lineno}"
        for path in sources()
        for node in ast.walk(tree(path))
        if name(path).startswith("bot/strategy/")
        and (
            isinstance(node, waits)
            or (isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in files)
        )
    )


def test_errors_are_caught_by_name() -> None:
    def catches_everything(node: ast.AST) -> bool:
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "suppress":
            caught = list(node.args)
        else:
            return False
        return any(each is None or getattr(each, "id", "") in ("Exception", "BaseException") for each in caught)

    def found() -> Iterator[tuple[Path, str]]:
        for path in sources():
            yield from ((path, f":{node.lineno}") for node in ast.walk(tree(path)) if catches_everything(node))  # type: ignore[attr-defined]

    none_outside(MAY_CATCH_EVERYTHING, found())


def test_only_the_command_line_and_the_terminal_print() -> None:
    def found() -> Iterator[tuple[Path, str]]:
        for path in sources():
            if name(path) == "bot/__main__.py" or "terminal" in path.parts:
                continue
            for node in ast.walk(tree(path)):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
                    yield path, f":{node.lineno}"

    none_outside(MAY_PRINT, found())


def test_a_log_line_is_an_event_name_and_fields() -> None:
    faults = []
    for path in sources():
        for node in ast.walk(tree(path)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            receiver = node.func.value
            owner = receiver.attr if isinstance(receiver, ast.Attribute) else getattr(receiver, "id", "")
            if owner not in LOGGERS or node.func.attr not in LOG_METHODS:
                continue
            event = node.args[0]
            constant = isinstance(event, ast.Constant) and re.fullmatch(r"[a-z][a-z0-9_]*", str(event.value))
            if not constant and not isinstance(event, ast.Name | ast.Attribute):
                faults.append(f"{name(path)}:{node.lineno}")
    none(faults)


def test_product_files_name_no_path_or_host_of_a_developers_machine() -> None:
    rooms = ("bot/", "plugins/", "deploy/", "docs/", ".ci/")
    faults = []
    for path in product_files():
        if not (name(path).startswith(rooms) or "/" not in name(path)):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found = MACHINE_PATHS.search(text)
        if found:
            faults.append(f"{name(path)}: {found[0]}")
    none(faults)


def test_plugins_import_only_numpy_and_the_standard_library_besides_the_bot() -> None:
    plugins = [path for path in sources() if name(path).startswith("plugins/")]
    found = ((path, line, module) for path in plugins for line, module in imports(path))
    assert [
        f"{name(path)}:{line} {module}" for path, line, module in found if module.split(".")[0] not in PLUGIN_IMPORTS
    ] == []


@pytest.mark.parametrize("table", [MAY_READ_A_CLOCK, MAY_IMPORT_ASYNCIO, MAY_CATCH_EVERYTHING, MAY_PRINT])
def test_every_exception_is_of_a_file_that_exists_and_has_a_reason(table: dict[str, str]) -> None:
    none(path for path, reason in table.items() if not (CHECKOUT / path).is_file() or not reason)


# What belongs together


def project() -> dict[str, list[str]]:
    parsed = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"bot": parsed["dependencies"], **parsed["optional-dependencies"]}


def canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def required(extras: tuple[str, ...]) -> set[str]:
    found = (re.match(r"[A-Za-z0-9._-]+", line) for extra in extras for line in project().get(extra, []))
    return {canonical(match[0]) for match in found if match}


def test_every_package_that_is_imported_is_a_declared_dependency() -> None:
    declared = required(("bot", "train", "ray"))
    providers = importlib.metadata.packages_distributions()
    undeclared = set()
    for path in sources():
        if path.parent.name == "rivals":  # programs for interpreters that have other packages than ours
            continue
        for _, module in imports(path):
            top = module.split(".")[0]
            if top in sys.stdlib_module_names or top in ("bot", "plugins", "benchmarks"):
                continue
            if not {canonical(each) for each in providers.get(top, [top])} & declared:
                undeclared.add(f"{name(path)}: {top}")
    none(undeclared)


def test_every_dependency_is_pinned_and_torch_without_a_build() -> None:
    text = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8")
    pins = [line for line in text.splitlines() if line and not line.startswith("#")]
    none(pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", pin))
    names = [canonical(pin.split("==")[0]) for pin in pins]
    none(second for first, second in pairwise(sorted(names)) if first == second)
    assert required(("bot", "test")) - set(names) == set()


def test_every_hook_has_a_test() -> None:
    specs = next(
        node
        for node in tree(CHECKOUT / "bot" / "hookspecs.py").body
        if isinstance(node, ast.ClassDef) and node.name == "Specs"
    )
    hooks = [node.name for node in specs.body if isinstance(node, ast.FunctionDef)]
    own = Path(__file__).resolve()
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "tests").rglob("*.py") if path != own)
    assert hooks
    none(hook for hook in hooks if not re.search(rf"\b{hook}\(", tests))
