# Every target does its own set-up. `make` alone lists them.
VENV_PYTHON := .venv/bin/python
BENCHMARKS := $(filter-out __% harness,$(patsubst benchmarks/%.py,%,$(wildcard benchmarks/*.py)))
DRILLS := $(or $(NAME),renewals seats centralize failover backup)
# Of the tests that are not long: one more than two cores, since some wait for a server.
PROCESSES := 3
SHELL := /bin/sh
# Where it is set, each of the many processes would compile Django and its friends anew.
unexport PYTHONDONTWRITEBYTECODE
.DELETE_ON_ERROR:
.SILENT:
.PHONY: help setup run test test-long check bench reset drill simulate migrations docs pictures messages

help: ## list the targets
	sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name what; do \
		printf '  make %-12s%s\n' "$$name" "$$what"; done

setup:
	./bootstrap

run: setup ## run the demo at http://127.0.0.1:8000/ (PORT=8001 for another port)
	exec $(VENV_PYTHON) -m config.demo.supervisor --end-with-parent

test: setup ## run the tests but the long ones (ARGS="tests/commerce -k renew" for some, long or not; PROCESSES=8 for more at once)
	$(if $(ARGS),$(VENV_PYTHON) -m config.demo.chromium)
	exec $(VENV_PYTHON) -m pytest -n $(PROCESSES) --dist loadfile $(or $(ARGS),-m "not long")

test-long: setup ## run the long tests: every page in a browser and as every role, faults, races, years of purchases
	$(VENV_PYTHON) -m config.demo.chromium
	exec $(VENV_PYTHON) -m pytest -n 2 --dist loadfile -m long $(ARGS)

check: setup ## lint, format, types, layers, migrations, deployment settings
	exec $(VENV_PYTHON) -m config.demo.checks

bench: setup ## measure against the budgets (NAME=renewals for one)
	for name in $(or $(NAME),$(BENCHMARKS)); do \
		echo "== $$name"; \
		$(VENV_PYTHON) -m config.demo.run_with_servers --durable --migrate -- -m benchmarks.$$name $(ARGS) || exit 1; \
	done

reset: setup ## forget the demo's data, keys and ports
	$(VENV_PYTHON) -m config.demo.supervisor reset

drill: setup ## kill workers in 1,000 renewals, race 50 times for seats, centralize 5,000 users, lose the database, restore a backup (NAME=seats for one)
	$(if $(filter-out renewals seats centralize failover backup,$(NAME)),$(error No such drill: $(NAME)))
ifneq ($(filter renewals,$(DRILLS)),)
	DRILL_SUBSCRIPTIONS=$(or $(SUBSCRIPTIONS),1000) $(VENV_PYTHON) -m pytest -n 2 -v tests/faults/test_killed_renewals.py tests/faults/test_killed_charges.py $(ARGS)
endif
ifneq ($(filter seats,$(DRILLS)),)
	DRILL_RACES=$(or $(RACES),50) $(VENV_PYTHON) -m pytest -n 2 -v tests/concurrency/test_last_seats.py $(ARGS)
endif
ifneq ($(filter centralize,$(DRILLS)),)
	DRILL_CENTRALIZED=$(or $(USERS),5000) $(VENV_PYTHON) -m pytest -n 0 -v tests/faults/test_killed_centralizing.py -k three_times $(ARGS)
endif
ifneq ($(filter failover,$(DRILLS)),)
	DRILL_FAILOVERS=$(or $(TIMES),5) DRILL_SUBSCRIPTIONS=$(or $(SUBSCRIPTIONS),200) $(VENV_PYTHON) -m pytest -n 0 -v tests/faults/test_failover.py $(ARGS)
endif
ifneq ($(filter backup,$(DRILLS)),)
	$(VENV_PYTHON) -m config.demo.drill
endif

simulate: setup ## live random histories (SEEDS=200 YEARS=3; SEED=17 for one again, WITHOUT="4 9" its steps)
	exec $(VENV_PYTHON) -m tests.simulation --seeds $(or $(SEEDS),20) --years $(or $(YEARS),3) \
		$(if $(FIRST),--first $(FIRST)) $(if $(SEED),--seed $(SEED)) $(if $(WITHOUT),--without $(WITHOUT)) $(ARGS)

migrations: setup ## write the migrations that changed models need (ARGS="--name ...")
	exec $(VENV_PYTHON) -m config.demo.run_with_servers -- manage.py makemigrations $(ARGS)

messages: setup ## bring the translators' files up to date with the code (docs/translating.md)
	exec $(VENV_PYTHON) -m config.messages

docs: setup ## write the documentation as a site to var/site/
	.venv/bin/uv run --quiet --frozen --isolated --no-project --with 'zensical==0.0.73' zensical build --strict

pictures: setup ## take the guides' pictures anew of a running demo (URL=http://127.0.0.1:8000)
	exec $(VENV_PYTHON) -m config.demo.pictures $(if $(URL),--url $(URL))
