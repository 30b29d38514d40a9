SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO ?= go
ALL := ./... ./examples/...
# Tools are pinned in tools.mod, and stay out of the workspace and of everybody's go.mod.
TOOL := GOWORK=off $(GO) tool -modfile=tools.mod
# Arguments for the demo or a benchmark, as in: make demo ARGS=-json
ARGS ?=

.PHONY: help
help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: deps-demo ## run the main job from end to end on a throw-away PostgreSQL; ARGS=-json, ARGS='-keep DIR'
	@$(GO) run ./examples/quickstart $(ARGS)

.PHONY: test
test: deps ## run all tests, against real PostgreSQL, OpenSSH and rsync on loopback; no unexplained skip passes
	@$(GO) test -json -shuffle=on -timeout=10m $(ALL) | $(GO) run ./internal/testgate

.PHONY: race
race: deps ## run all tests with the race detector
	@$(GO) test -json -race -shuffle=on -timeout=30m $(ALL) | $(GO) run ./internal/testgate

.PHONY: lint
lint: lint-format lint-vet lint-staticcheck lint-fix lint-tidy lint-arch ## format, vet on three systems, staticcheck, go fix, go mod tidy, import rules, exported API

.PHONY: lint-format lint-vet lint-staticcheck lint-fix lint-tidy lint-arch
lint-format:
	@files=$$($(TOOL) gofumpt -l .); [ -z "$$files" ] || { echo "run make fmt for:"; echo "$$files"; exit 1; }

lint-vet:
	@$(GO) vet -tags=crash $(ALL)
	@$(GO) vet -tags=bench $(ALL)
	@for system in linux darwin windows; do CGO_ENABLED=0 GOOS=$$system $(GO) vet $(ALL) || { echo "go vet on $$system failed"; exit 1; }; done

lint-staticcheck:
	@staticcheck=$$($(TOOL) -n staticcheck); "$$staticcheck" $(ALL); "$$staticcheck" -tags=crash ./backup/...; "$$staticcheck" -tags=bench ./backup/...

lint-fix:
	@$(GO) fix -diff $(ALL)

lint-tidy:
	@$(GO) mod tidy -diff
	@cd examples && $(GO) mod tidy -diff

lint-arch:
	@$(GO) test ./internal/archtest

.PHONY: bench
bench: ## run the benchmarks of single packages
	@$(GO) test -run='^$$' -bench=. -benchmem $(shell $(GO) list ./... | grep -v /sftptarget) $(ARGS)

.PHONY: bench-backup
bench-backup: deps-bench ## back up 100 databases, beside pg_dump, pg_dump and sftp, and restic; ARGS='-clones 8 -rounds 1' for a quick look
	@$(GO) test -tags=bench -run='^TestPeers' -count=1 -v -timeout=120m ./backup $(if $(ARGS),-args $(ARGS))

.PHONY: bench-sftp
bench-sftp: deps ## put a large file and many small ones over SSH, beside sftp and rsync, at 0, 10 and 100 ms
	@$(GO) test -run='^$$' -bench=SFTP -benchtime=1x -count=1 -timeout=60m ./backup/sftptarget $(if $(ARGS),-args $(ARGS))

.PHONY: crash
crash: deps ## fault every call, kill at every step, recover, and count what was lost or left
	@$(GO) test -run=TestEvery -count=1 -v ./backup/filestore | grep -v "^ *--- PASS\|^=== "
	@$(GO) test -tags=crash -run='Crash' -count=1 -v -timeout=60m ./backup
	@$(GO) test -run='Killed' -count=1 -v -timeout=60m ./restore ./backup/dirtarget -args -long
	@$(GO) test -run='Killed|Sweep' -count=1 -v -timeout=30m ./restore/scratch

.PHONY: fmt
fmt: ## format everything
	@$(TOOL) gofumpt -w .
	@$(GO) fix $(ALL)

.PHONY: api
api: ## accept a change of the exported API
	@$(GO) test ./internal/archtest -run='^TestAPI$$' -update

.PHONY: deps
deps: ## install what tests need and is missing (Debian, Ubuntu); says what
	@scripts/deps.sh

.PHONY: deps-demo deps-bench
deps-demo:
	@scripts/deps.sh postgresql

deps-bench:
	@scripts/deps.sh postgresql ssh rsync restic
