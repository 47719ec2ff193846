# The two commands of a new user are `make demo` and `make test`; both set up .venv first when it is missing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Processes that share the tests, a file at a time; each takes up to 2 GB.
JOBS ?= 2

.PHONY: setup demo test fresh lint bench bench-check bench-record bench-docs gpu reproduce soak docs pages wheels notebooks clean

setup: $(VENV)/.ready

$(VENV)/.ready: setup.cfg pyproject.toml setup.py tools/setup.sh
	@sh tools/setup.sh "$(PYTHON)" "$(VENV)"
	@touch $@

demo: setup
	$(BIN)/python cli.py demo

test: setup
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# The README on a bare machine, committed state only: newest and oldest versions, without a compiler, with Pillow-SIMD. WAYS=oldest takes some.
fresh:
	$(PYTHON) tools/fresh.py $(WAYS)

lint: setup
	@$(BIN)/python -c "import ruff, mypy" 2>/dev/null || { echo "installing ruff and mypy into $(VENV)"; $(BIN)/python -m pip install -qq 'ruff>=0.6' 'mypy>=1.11'; }
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m pytest ferdata_bench --benchmark-enable --benchmark-only

# Every measurement on its own, then docs/benchmarks.md: an hour and a half on a quiet machine. ONLY=bars,scale takes some of them,
# FERDATA_QUICK=1 only shows that it works, and leaves the repository's page alone.
bench-docs: setup
	$(BIN)/python -m ferdata_bench.figures $(if $(ONLY),--only $(ONLY))

bench-check: setup
	$(BIN)/python -m ferdata_bench.guard check

bench-record: setup
	$(BIN)/python -m ferdata_bench.guard record

# All that needs a CUDA GPU, right and how fast, into docs/figures/gpu.json: under eight minutes, with any Python that has PyTorch.
# It says which packages are missing and how to carry them; nothing is downloaded.
gpu:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m ferdata_bench.gpu

# The documents as a site, in build/site; every link is checked.
docs: setup
	@$(BIN)/python -c "import material, mkdocstrings" 2>/dev/null || { echo "installing MkDocs into $(VENV)"; $(BIN)/python -m pip install -qq -e '.[docs]'; }
	$(BIN)/python tools/site.py

# Every notebook in examples, from top to bottom.
notebooks: setup
	@$(BIN)/python -c "import accelerate, lightning, nbclient, transformers" 2>/dev/null || { echo "installing what the examples need into $(VENV)"; $(BIN)/python -m pip install -qq -e '.[examples]'; }
	$(BIN)/python -m pytest tests/test_examples.py tests/test_lightning.py -m "slow or not slow"

# Every page that ferdata makes, and the site if it is built, opened in Chromium as wide as a telephone, a tablet and a desk: no
# error, nothing asked of another host, nothing cut off. SHOTS=DIR keeps what was seen. Two minutes.
pages: setup
	@$(BIN)/python tools/pages.py
	rm -rf build/seen
	$(BIN)/python cli.py demo --quick --out build/seen
	$(BIN)/python cli.py evaluate build/seen/runs/* --shards build/seen/shards-80 --out build/seen/evaluation
	$(BIN)/python cli.py explain build/seen/runs/* --out build/seen/explanation
	$(BIN)/python cli.py audit build/seen/shards-80 --src build/seen/source/affectnet --out build/seen/audit.html
	$(BIN)/python cli.py sweep --shards build/seen/shards-80 --model basic1 --epochs 2 --seeds 2 --vary lr=1e-3,1e-2 --vary batch_size=16,32 --out build/seen/sweep
	$(BIN)/python tools/pages.py build/seen $(wildcard build/site) $(if $(SHOTS),--shots $(SHOTS))

# What is published, into dist: an sdist, and wheels with the kernels inside for x86-64 and ARM.
wheels: setup
	@$(BIN)/python -c "import auditwheel, build, twine, ziglang" 2>/dev/null || { echo "installing Zig's compiler and build into $(VENV)"; $(BIN)/python -m pip install -qq -e '.[wheels]'; }
	$(BIN)/python tools/wheels.py

# The toy commands of docs/reproduce.md, with one table and picture of all sweeps: an hour on two busy cores. It goes on where it
# stopped. ONLY=dropout runs the commands that hold this word.
reproduce: setup
	$(BIN)/python -m ferdata_bench.studies.reproduce --out reproduce $(if $(ONLY),--only $(ONLY))

soak: setup
	$(BIN)/python -m pytest -m slow

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
