# PYTHON: the interpreter to build on; by default the first of these that works and is 3.11 or newer.
PYTHONS := python3.11 python3.12 python3.13 python3
PYTHON ?= $(shell for p in $(PYTHONS); do "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { command -v "$$p"; break; }; done)
# TORCH_INDEX: an index of CPU builds of torch. The build on PyPI for Linux x86-64 brings several GB of CUDA with it.
TORCH_INDEX ?=
VARIANTS ?= deploy/demo
KILLS ?= 100
FUZZ ?= 2000
FUZZ_SECONDS ?= 30
DECODERS := market user rest symbols bot variant scenario manifest pointer
ARGS ?=
# WORKERS: how many tests run at once; one more than there are cores, because many wait for processes of their own.
WORKERS ?= $(shell "$(PYTHON)" -c 'import os; print((os.cpu_count() or 1) + 1)')

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run test lint simulate bench bench-decide bench-model bench-research bench-soak kills mutants fuzz format install clean

help: ## list what can be made
	@echo 'make run      install into $(VENV) and replay the variants in deploy/demo/ on a generated market'
	@echo '              ARGS="--bars DIR --from 2025-03-01 --to 2025-03-31" replays recordings instead'
	@echo '              VARIANTS="FILE.toml ..." trades other variants; VARIANTS=deploy/variants the whole book'
	@echo 'make test     all checks: ruff, mypy, import contracts, tests'
	@echo 'make lint     the same without the tests'
	@echo 'make simulate live SEEDS=1000 days with faults on all cores; a day that fails says how it is replayed'
	@echo 'make bench    every benchmark; make bench-decide: how long a cycle of the book takes to decide;'
	@echo '              make bench-model: how fast, how large and how exact the model room is (three to six minutes)'
	@echo 'make bench-research   backtest and sweep beside what other backtesters take for the same rule'
	@echo 'make bench-soak   the book for 24 hours at 100 times real time: memory, descriptors, tasks, loop lag'
	@echo 'make kills    KILLS=100: the bot is killed again and again in replays, and nothing may be lost or doubled'
	@echo 'make mutants  deliberate faults in the order path, one by one: the table says which test catches each'
	@echo 'make fuzz     FUZZ=2000 spoiled examples for each decoder, then FUZZ_SECONDS=30 of atheris where it installs'
	@echo 'make format   let ruff format and fix'
	@echo 'make install  install only'
	@echo 'make clean    remove $(VENV) and the caches of tools; var/ (the journal) stays'
	@echo
	@echo 'WORKERS=N         how many tests run at once (one more than there are cores)'
	@echo 'PYTHON=PATH       the Python to build on (3.11 or newer)'
	@echo 'TORCH_INDEX=URL   where to take torch from; give the CPU index that pytorch.org names under "Get started",'
	@echo '                  or pip takes its default build, which on Linux brings several GB of CUDA libraries'

$(VENV)/.created:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11 or newer is needed; none of: $(PYTHONS) is. Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python" >&2; exit 2; fi
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) does not work or is older than Python 3.11" >&2; exit 2; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	@echo "[1/3] virtual environment $(VENV) on $$("$(PYTHON)" -V) ($(PYTHON))"
	@"$(PYTHON)" -m venv $(VENV)
	@touch $@

# torch alone and first: its index then serves nothing else, and a resolver never swaps the build that was asked for.
$(VENV)/.torch: $(VENV)/.created constraints.txt
	@echo "[2/3] $$(grep '^torch==' constraints.txt), the largest download"
	@$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$$(grep '^torch==' constraints.txt)"
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml constraints.txt
	@echo "[3/3] the bot and its packages"
	@$(PIP) --constraint constraints.txt --editable .
	@$(BIN)/python -m compileall -q bot plugins
	@touch $@

$(VENV)/.tested: $(VENV)/.installed pyproject.toml constraints.txt
	@echo "[tests] what the checks need"
	@$(PIP) --constraint constraints.txt --editable '.[test]'
	@touch $@

install: $(VENV)/.installed

run: $(VENV)/.installed
	@$(BIN)/python -m bot run $(VARIANTS) --venue replay $(ARGS)

lint: $(VENV)/.tested
	@echo '== ruff check'
	@$(BIN)/ruff check .
	@echo '== ruff format --check'
	@$(BIN)/ruff format --check .
	@echo '== mypy --strict'
	@$(BIN)/mypy bot plugins benchmarks
	@echo '== import contracts'
	@$(BIN)/lint-imports

# Bytecode is written here, once: where the environment forbids it (PYTHONDONTWRITEBYTECODE, as many containers do), each
# of the hundred processes that tests start would compile the package for itself, a second long.
test: lint
	@$(BIN)/python -m compileall -q bot plugins benchmarks tests
	@echo '== tests'
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

SEEDS ?= 1000

simulate: $(VENV)/.tested
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

bench: bench-decide bench-model

bench-decide: $(VENV)/.installed
	@$(BIN)/python -m benchmarks.decide $(ARGS)

bench-model: $(VENV)/.installed
	@$(BIN)/python -m benchmarks.model $(ARGS)

bench-research: $(VENV)/.installed
	@$(BIN)/python -m benchmarks.research $(ARGS)

bench-soak: $(VENV)/.installed
	@$(BIN)/python -m benchmarks.soak $(ARGS)

kills: $(VENV)/.tested
	@$(BIN)/python -m tests.flow.campaign --kills $(KILLS) $(ARGS)

mutants: $(VENV)/.tested
	@$(BIN)/python -m tests.mutants $(ARGS)

# atheris has wheels for Linux on x86-64 alone; elsewhere hypothesis does it without.
fuzz: $(VENV)/.tested
	@FUZZ=$(FUZZ) $(BIN)/python -m pytest tests/fuzz --timeout 7200 $(ARGS)
	@$(PIP) --constraint constraints.txt --only-binary atheris --editable '.[fuzz]' || { \
		echo 'atheris does not install here; hypothesis has done its part'; exit 0; }; \
	for decoder in $(DECODERS); do \
		echo "== atheris: $$decoder"; corpus=var/fuzz/$$decoder; \
		$(BIN)/python -m tests.fuzz.seeds $$decoder $$corpus || exit 1; \
		$(BIN)/python -m tests.fuzz.campaign $$decoder -max_total_time=$(FUZZ_SECONDS) -timeout=5 -verbosity=0 \
			-artifact_prefix=var/fuzz/$$decoder- $$corpus || exit 1; \
	done

format: $(VENV)/.tested
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find bot plugins benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +
