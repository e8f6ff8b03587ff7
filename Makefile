# Ivrea from a clone. Python 3.11 or newer with venv, git and make are all that must be there.
#
#   make serve    the daemon on 127.0.0.1, with the example flows, open to callers from this machine
#   make test     the tests; tests whose peers (SIPp, baresip, …) are not installed are skipped and named
#   make peers    installs those peers from Debian's packages; as root, make test does it by itself
#   make lint     ruff and mypy
#   make check    lint and test, then the wheel in an empty environment: what CI runs
#   make bench    the benchmarks, about half an hour: benchmarks/REPORT.md; BENCH_ARGS="--only play" for one of them
#   make bench-quick  the same with small sizes, within three minutes: whether the suite works
#   make soak     soak-schedules, soak-kills, calls for SOAK_MINUTES (120) at SOAK_RATE (15) a second: fails on what grows
#   make soak-schedules  SOAK_SCHEDULES (5000) random schedules of SIP in virtual time: everything ends, once
#   make soak-kills  SOAK_KILLS (1000) times kill -9 under calls, on SQLite and PostgreSQL: all is told, recorded, closed
#   make clean    remove what the above made, .venv included

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CONFIG ?= examples/ivrea.toml
SOAK_MINUTES ?= 120
SOAK_RATE    ?= 15
SOAK_SCHEDULES ?= 5000
SOAK_KILLS   ?= 1000
PYTEST_ARGS  ?=
# Tests wait for real calls most of the time: more of them at a time than there are processors.
TEST_JOBS    ?= 3
# Programs that we did not write, to test against; none of them is needed to run the daemon.
PEERS := sip-tester baresip-core chromium kamailio kamailio-tls-modules iproute2 nftables procps postgresql redis-server
BENCH_ARGS   ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test peers lint format check wheel bench bench-quick soak soak-schedules soak-kills clean

help:
	@sed -n 's/^#   \(make .*\)/\1/p' $(MAKEFILE_LIST)

# --- environment: each stamp is newer than what it was made from ---------------------------------

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Ivrea needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[fast,tts]'
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group test --group interop
	@touch $@

$(VENV)/.benched: $(VENV)/.tested
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

# --- what people type ----------------------------------------------------------------------------

serve: $(VENV)/.installed
	@mkdir -p var
	IVREA_SIP__OPEN=true exec $(BIN)/ivrea serve --config $(CONFIG)

test: $(VENV)/.tested
	@if [ "$$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then $(MAKE) --no-print-directory peers; fi
	$(BIN)/pytest -q -n $(TEST_JOBS) --dist loadfile $(PYTEST_ARGS)

peers:
	@for package in $(PEERS); do \
		dpkg-query -W -f '$${Status}\n' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	[ -z "$$missing" ] || { echo "installing$$missing"; apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; }

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.tested
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check:
	.ci/run

wheel: $(VENV)/.created
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

bench: $(VENV)/.benched
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

bench-quick: $(VENV)/.benched
	$(BIN)/python -m benchmarks --quick $(BENCH_ARGS)

soak: soak-schedules soak-kills
	$(BIN)/python -m benchmarks.soak --minutes $(SOAK_MINUTES) --rate $(SOAK_RATE) --report benchmarks/SOAK.md

soak-schedules: $(VENV)/.tested
	IVREA_SCHEDULES=$(SOAK_SCHEDULES) IVREA_SCHEDULES_REPORT=benchmarks/SCHEDULES.md \
		$(BIN)/pytest -q tests/sip_machines/test_sip_schedules.py

soak-kills: $(VENV)/.tested
	$(BIN)/python -m benchmarks.kills --kills $(SOAK_KILLS) --report benchmarks/KILLS.md

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis var
