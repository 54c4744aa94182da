# Every target works on a fresh clone. `make` alone lists them.

CARGO ?= cargo
# What `make demo` hands to `weir demo`: ARGS=--once, ARGS='--manifests DIR'.
ARGS ?=
# What `make test` hands to `cargo test`: TEST_ARGS='-p weir-proxy'.
TEST_ARGS ?= --workspace
# What `make bench` hands to the benchmark.
BENCH ?=
BENCHMARK = $(BUILT)/release/weir-bench --weir $(BUILT)/agent/weir-agent --out bench/results $(BENCH)
# What `make image` builds: IMAGE=registry/weir:tag, PLATFORM=linux/arm64.
IMAGE ?= ghcr.io/weir-mesh/weir:0.1.0
PLATFORM ?=
# Seconds per fuzz target of `make fuzz`.
FUZZ_SECONDS ?= 20
# Seconds of `make outage`.
OUTAGE_SECONDS ?= 60
# Seconds of `make soak`.
SOAK_SECONDS ?= 60

BUILT := $(or $(CARGO_TARGET_DIR),target)
# Peers and tools that `make setup` puts beside the repository's own files, such as Envoy.
export PATH := $(CURDIR)/.make/venv/bin:$(CURDIR)/.make/tools/bin:$(PATH)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: setup
setup: ## Install what demo and tests need, or say what to install
	@scripts/setup test

# All programs at once, not only those the demo runs: Cargo then chooses the same features as for
# the tests and builds no dependency twice.
.PHONY: programs
programs:
	@$(CARGO) build --workspace --bins

.PHONY: demo
demo: ## Bring up a mesh on this machine and make calls through it; ARGS=--once to end after them
	@scripts/setup demo
	@$(MAKE) --no-print-directory programs
	@if [ "$$(id -u)" != 0 ]; then \
		echo "weir demo makes network namespaces, which needs root. It is built; run:" >&2; \
		echo "  sudo $(BUILT)/debug/weir demo $(ARGS)" >&2; \
		exit 1; \
	fi
	@$(BUILT)/debug/weir demo $(ARGS)

.PHONY: test
test: ## Run all tests; REQUIRE_NETNS=1 fails those that cannot make a network namespace
	@scripts/setup test
	@$(CARGO) test $(TEST_ARGS)

.PHONY: lint
lint: ## Check format, lints and dependencies: bans, licences, sources, and advisories where they can be had
	@scripts/setup lint
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --workspace --all-targets -- -D warnings
	@scripts/deny

.PHONY: golden
golden: ## Rewrite the golden files of all tests; read git diff afterwards
	@REFRESH_GOLDEN=1 $(CARGO) test --workspace --lib --bins \
		--test golden --test supported_configuration --test docs --test chart \
		--test peer_http2_suites
	@git status --short

.PHONY: build
build: ## Build what ships, with what it is made of: in the programs (cargo auditable), and as CycloneDX beside them
	@scripts/setup release
	@$(CARGO) auditable build --release -p weir-cli -p weir-control
	@$(CARGO) auditable build --profile agent -p weir-agent
	@scripts/sbom $(BUILT)/sbom
	@ls -l $(BUILT)/release/weir $(BUILT)/release/weir-control $(BUILT)/agent/weir-agent

.PHONY: budgets
budgets: ## Build weir-agent as it ships and hold it to its budgets: size, and memory while idle
	@$(CARGO) build --profile agent -p weir-agent
	@scripts/budgets $(BUILT)/agent/weir-agent examples/bootstraps/transparent.yaml

.PHONY: image
image: ## Build the image of all parts with docker, podman or buildah
	@scripts/image $(IMAGE) $(PLATFORM)

.PHONY: cluster
cluster: ## Bring up a Kubernetes of one node on this machine, as root, and say how to use it
	@scripts/setup cluster
	@scripts/cluster/up

.PHONY: cluster-down
cluster-down: ## End it, and remove what it had on the machine
	@scripts/cluster/down

.PHONY: test-cluster
test-cluster: ## Check sidecars on that node: starts, ends, rollouts; as root, some 12 minutes
	@scripts/setup cluster
	@$(MAKE) --no-print-directory programs
	@tests/cluster/all $(BUILT)/debug

.PHONY: conformance
conformance: ## Run Gateway API's suite for meshes on that node; as root, a minute once it is built
	@scripts/setup cluster
	@$(MAKE) --no-print-directory programs
	@tests/cluster/conformance/run $(BUILT)/debug

.PHONY: fuzz
fuzz: ## Fuzz every parser for FUZZ_SECONDS each
	@scripts/setup fuzz
	@scripts/fuzz $(FUZZ_SECONDS)

.PHONY: outage
outage: ## Fifty endpoints, most of them broken, for OUTAGE_SECONDS=60: what clients see, beside Envoy
	@OUTAGE_SECONDS=$(OUTAGE_SECONDS) $(CARGO) test -p weir-agent --test outage -- --ignored --nocapture

.PHONY: soak
soak: ## Mixed traffic with resets for SOAK_SECONDS=60: no panic, and memory stays flat
	@SOAK_SECONDS=$(SOAK_SECONDS) $(CARGO) test -p weir-agent --test soak -- --ignored --nocapture

.PHONY: bench
bench: ## Measure beside Envoy and HAProxy, as root; BENCH='http1-64 --rounds 1' for a part of it
	@scripts/setup bench
	@$(CARGO) build --profile agent -p weir-agent
	@$(CARGO) build --release -p weir-bench
	@if [ "$$(id -u)" != 0 ]; then \
		echo "The benchmark makes network namespaces, which needs root. It is built; run:" >&2; \
		echo "  sudo env PATH=\"$$PATH\" $(BENCHMARK)" >&2; \
		exit 1; \
	fi
	$(BENCHMARK)

.PHONY: bench-scale
bench-scale: ## Measure how discovery grows with the cluster, as root; BENCH='--services 1000' for a part
	@$(CARGO) build --profile agent -p weir-agent
	@$(CARGO) build --release -p weir-control -p weir-bench-scale
	$(BUILT)/release/weir-bench-scale --control $(BUILT)/release/weir-control \
		--agent $(BUILT)/agent/weir-agent --out bench/results/scale.json $(BENCH)

.PHONY: bench-webhook
bench-webhook: ## Load the injection webhook over TLS and print what a review costs
	@$(CARGO) build --release -p weir-control
	scripts/bench-webhook $(BUILT)/release/weir-control

.PHONY: clean
clean: ## Remove everything that was built or installed into this directory
	@$(CARGO) clean
	@rm -rf .make
