# The two commands: `make app` and `make test`; each installs what it needs.
#   make check   style, types, order of the rooms, fast tests, generated tables: while working, offline
#   make test    what a newcomer runs: everything that needs no cluster and no hour, browser tests included
#   make pictures  the README's picture, taken anew
#   make slow    wheels in new environments, processes that are killed, long trainings, what needs the network
PYTHON ?= python3
BIN := .venv/bin
# Two processes, each with the files that it takes whole: torch computes on one thread in tests (tests/conftest.py).
TWO ?= -n 2 --dist loadfile
# What is pressed while a page is drawn anew may be lost on a busy machine. A test whose browser ran out of time is tried
# once more, and the report names it.
AGAIN := --reruns 1 --only-rerun "^TimeoutError: [A-Z]\w+\.\w+: Timeout"
QUICK := not slow and not heavy and not browser and not network and not gpu
export OMP_WAIT_POLICY ?= PASSIVE
export TOKENIZERS_PARALLELISM ?= false

.PHONY: app test check quick slow style format pictures clean
app: .venv/ready
	$(BIN)/streamlit run app.py

# The types of the whole product take one core half a minute, beside which the tests begin.
check: .venv/ready-dev
	$(MAKE) --no-print-directory -j 2 style quick

quick: .venv/ready-dev
	$(BIN)/python -m pytest $(TWO) -m "$(QUICK)" --longest 5

test: style
	$(BIN)/python -m pytest $(TWO) $(AGAIN) -m "not heavy and not network"

slow: .venv/ready-dev
	$(BIN)/python -m pytest $(TWO) $(AGAIN) -m "heavy or network"

style: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m bench.tables --check

format: .venv/ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pictures: .venv/ready-dev
	$(BIN)/python -m bench.pictures

.venv/ready: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/ready-dev: .venv/ready requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf .venv
