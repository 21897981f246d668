# The commands people type. Each is one line that calls a script or a console command.
.PHONY: up down status serve test unit fmt service operator charts e2e crds
PY := .venv/bin/python

up: .venv/.installed          ## the whole system on a real cluster
	@$(PY) -m hack.up

down: .venv/.installed        ## remove what `make up` made
	@$(PY) -m hack.cluster down

status: .venv/.installed      ## how the cluster is
	@$(PY) -m hack.cluster status

serve: .venv/.installed       ## the service alone on an embedded PostgreSQL
	@$(PY) -m hack.serve

test: .venv/.installed        ## everything CI runs
	@$(PY) -m hack.test all

unit: .venv/.installed        ## lint, types, import rules, unit tests
	@$(PY) -m hack.test unit

service operator charts e2e: .venv/.installed
	@$(PY) -m hack.test $@

fmt: .venv/.installed
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

crds: .venv/.installed        ## regenerate what is generated from code
	@$(PY) -m hack.codegen

.venv/.installed: pyproject.toml hack/venv.sh
	@bash hack/venv.sh
