# Everything a person does with this checkout. `make` alone lists it.
#
# Prerequisites: make, bash and npm (any version). hack/run.sh gets Node.js 24 and the dependencies when needed.
# Works with GNU make 3.81 (macOS) and with spaces in the path.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

run := hack/run.sh

# e.g. make test TESTS="gateway/src/http --verbose"
TESTS ?=
# e.g. make dev CONFIG=.dev/my-gateway.yaml, a copy of .dev/gateway.yaml with changes of yours
CONFIG ?=
export CONFIG
# e.g. make image IMAGE=registry.example/claude-gateway:1.2.3
IMAGE ?= claude-gateway:dev

##@ Every day

.PHONY: help
help: ## List what can be made
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z0-9-]+:.*## / { gsub(/[$$][$$]/, "$$", $$2); printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo

.PHONY: dev
dev: ## Run a gateway here, with a database, sign-in and an upstream to develop with; Ctrl-C stops it
	@CLAUDE_GATEWAY_DEV_CONFIG="$$CONFIG" $(run) node --conditions=source --disable-warning=ExperimentalWarning dev/src/main.ts

.PHONY: sign-in
sign-in: ## Sign in to the gateway of `make dev` without Claude Code: eval "$$(make -s sign-in)"
	@$(run) node --conditions=source --disable-warning=ExperimentalWarning dev/src/sign-in.ts

.PHONY: test
test: ## Run the unit and end-to-end tests (some of them: make test TESTS=gateway/src/http)
	@hack/testbed.sh
	@$(run) hack/test.sh --testPathIgnorePatterns /node_modules/ /dist/ e2e/src/image.test.ts e2e/src/cluster/ e2e/src/newest/ -- $(TESTS)

.PHONY: verify
verify: ## Check what tests do not: generated files, format, lint, import rules, types
	@$(run) hack/verify.sh

.PHONY: format
format: ## Format every file
	@$(run) prettier --write --log-level warn .

##@ Products

.PHONY: build
build: ## Compile every package into its dist/
	@$(run) tsc --build
	@echo 'Built. Run it:  node gateway/dist/main.js --config gateway.yaml   (Node.js 24 or later)'

.PHONY: image
image: ## Build the container image
	@$(run) hack/image.sh build $(IMAGE)

.PHONY: test-image
test-image: image ## Build the container image and run it for real
	@CLAUDE_GATEWAY_IMAGE=$(IMAGE) $(run) hack/image.sh with-engine hack/test.sh -- e2e/src/image.test.ts

.PHONY: e2e-cluster
e2e-cluster: image ## Run the tests that need a whole Kubernetes: one that is made here (Linux, root)
	@[[ -n $$CI ]] || hack/cluster/programs.sh
	@CLAUDE_GATEWAY_IMAGE=$(IMAGE) $(run) hack/image.sh with-engine hack/test.sh --runInBand -- e2e/src/cluster

.PHONY: e2e-kind
e2e-kind: $(if $(CLAUDE_GATEWAY_IMAGE),,image) ## Run the same tests on a cluster of kind (Docker, kind, kubectl, helm)
	@hack/testbed.sh
	@CLAUDE_GATEWAY_E2E_CLUSTER=kind CLAUDE_GATEWAY_IMAGE=$(or $(CLAUDE_GATEWAY_IMAGE),$(IMAGE)) \
	  $(run) hack/test.sh --runInBand -- $(or $(TESTS),e2e/src/cluster)

# RECORD=1 writes what it says of each setting to contract/src/fixtures/.
.PHONY: e2e-newest
e2e-newest: ## Ask the newest Claude Code what its gateway accepts that ours does not
	@$(run) hack/test.sh -- e2e/src/newest

# ATTACK_BODIES, ATTACK_SEED, STORM_REQUESTS and STORM_SEED say how long and which one; hack/attack.sh says how to read it.
.PHONY: attack
attack: ## Attack real gateways at length: fuzzed bodies, lies, a storm
	@hack/testbed.sh
	@$(run) hack/attack.sh

.PHONY: bench
bench: ## Measure the gateway against the reference, side by side (takes a while)
	@$(run) npm run --silent bench -w @claude-gateway/bench

##@ Cleaning up

.PHONY: clean
clean: ## Remove what was built (not the data of `make dev`, nor installed dependencies)
	rm -rf coverage .cache e2e/artifacts
	rm -rf contract/dist crds/dist dev/dist prisma/dist operator/dist gateway/dist e2e/dist bench/dist
	rm -f ./*.tsbuildinfo ./*/*.tsbuildinfo

.PHONY: clean-all
clean-all: clean ## Also remove the data of `make dev`, generated code and dependencies
	rm -rf .dev prisma/src/generated node_modules ./*/node_modules
