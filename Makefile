# Everything a developer needs, one line each: `make help` lists it.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# Static, without paths or build ids of this machine: the same source gives the same bytes (make reproducible).
BUILD = CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -buildid= -X main.version=$(VERSION)'

.PHONY: help run build test lint bench soak interop screenshots fuzz reproducible
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build, then tell the whole story and leave it running (Ctrl-C ends it)
	@./scripts/run.sh $(DEMOFLAGS)

build: ## make bin/mintmark, a static binary
	@mkdir -p bin && $(BUILD) -o bin/mintmark ./cmd/mintmark

test: ## linters, reproducible build, the tour, every command, all tests on both engines with race detector, injected faults
	@./scripts/test.sh

lint: ## gofmt, go vet, go mod tidy, staticcheck
	@./scripts/lint.sh

bench: ## measure CPU, memory and rates on both engines, beside the floor of plain net/http
	@./bench/run.sh $(BENCHFLAGS)

soak: build ## 10 minutes of rotation and kill -9 with probers that must never be refused
	@./scripts/soak.sh

interop: build ## drive a real server with other people's clients: curl, aws, boto3, STUPS, openid-client, Authlib …
	@./scripts/interop.sh

screenshots: ## pictures of every page, light and dark, wide and narrow, English and German, in .screenshots/
	@./scripts/screenshots.sh

fuzz: ## a few seconds of fuzzing for each parser (FUZZTIME=10s)
	@./scripts/fuzz.sh

reproducible: ## build twice at different paths and compare
	@./scripts/reproducible.sh
