# Everything a developer or CI calls. `make demo` and `make test` need a bare
# Debian 12 with root, git, make, Go 1.26, Rust 1.95 and a C compiler, and reach
# package registries only; the scripts in hack/ install and build the rest into
# ${PEERUP_CACHE:-${XDG_CACHE_HOME:-~/.cache}/peerup}.

.PHONY: demo test test-unit test-api test-lab test-e2e fuzz bench images fmt lint clean

demo: ## a cluster to play with: three pods joined and graded, a laptop joined by code
	@hack/demo

test: ## all tiers, with a closing line
	@hack/test unit api lab e2e

test-unit: ## what needs nothing but this repository
	@hack/test unit

test-api: ## controllers against a real API server
	@hack/test api

test-lab: ## relays and peers behind NATs of every class
	@hack/test lab

test-e2e: ## the whole story on a kind cluster of its own
	@hack/test e2e

fuzz: ## the parsers, 30 s each; ARGS="60 m3 m4": longer, and only these
	@hack/fuzz $(ARGS)

bench: ## the operator with 10000 reporters; ARGS="--reporters 1000 --minutes 2"
	@hack/bench $(ARGS)

images: ## archives of the images, for `kind load image-archive` or `podman load`
	@hack/images

fmt:
	@cargo fmt
	@cargo fmt --manifest-path fuzz/Cargo.toml
	@gofmt -w hack/go

lint: ## rustfmt, clippy, shellcheck, gofmt
	@hack/lint

clean: ## remove clusters, networks and mounts; the cache stays
	@hack/clean
