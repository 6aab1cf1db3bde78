# make help lists the targets. Variables:
#   LIBTORCH=/path  build the engine against this libtorch (unpacked zip, or Python torch's folder) instead of
#                   Debian's; remembered until it is set to another path or to nothing
#   ARGS='…'        further flags of arf in `make demo` and `make results`, and of `make bench`
#   PKG=./clip      the packages of test-go, bench-go and fuzz
#   FUZZTIME=60s    time for each fuzz target
#   SOAK=10000      steps of soak

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

LIBTORCH ?= $(file <build/libtorch)
export LIBTORCH

GO       := scripts/go
PKG      ?= ./...
FUZZTIME ?= 60s
SOAK     ?= 10000
ARGS     ?=
JOBS     ?= $(shell nproc)

GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

setup: ## install what is missing: compiler, libtorch, libvips, Go, Node (apt as root or with sudo)
	@scripts/setup.sh

# ---- engine: torch/shim/*.cc and libtorch → build/libarf_torch.so; faiss/shim/*.cc and FAISS → build/libarf_faiss.so ----

CXX      ?= g++
CXXFLAGS ?= -O2
# GCC 12 sees overflows in libtorch's inlined reference counts that aren't there.
WARNINGS := -Wall -Wextra -Wno-stringop-overflow
ENGINE   := build/libarf_torch.so
SHIM     := $(patsubst torch/shim/%.cc,build/shim/%.o,$(wildcard torch/shim/*.cc))
FAISS    := build/libarf_faiss.so

engine: ## build the engine library that arf loads (LIBTORCH=/path for a CUDA or newer libtorch), and FAISS's where it is installed
	@mkdir -p build && echo '$(LIBTORCH)' >build/libtorch
	@scripts/engine-flags.sh build/shim $(LIBTORCH)
	@$(MAKE) -s --no-print-directory -j$(JOBS) $(ENGINE) \
		$$(echo '#include <faiss/Index.h>' | $(CXX) -std=c++20 -fsyntax-only -x c++ - 2>/dev/null && echo $(FAISS) || \
		echo "  SKIP $(FAISS): FAISS (libfaiss-dev) isn't installed; only anchors.pairs.index: faiss needs it" >&2)

# The flag files change only when libtorch or its place does.
build/shim/cxxflags build/shim/ldflags build/shim/libtorch:
	@scripts/engine-flags.sh build/shim $(LIBTORCH)

build/shim/%.o: torch/shim/%.cc build/shim/cxxflags build/shim/libtorch
	@echo '  CXX  $<'
	@$(CXX) -std=c++20 -fPIC -fopenmp-simd -fno-math-errno $(WARNINGS) $(CXXFLAGS) -MMD -MP @build/shim/cxxflags -c -o $@ $<

$(ENGINE): $(SHIM) build/shim/ldflags
	@echo '  LINK $@'
	@$(CXX) -shared -o $@.tmp $(SHIM) @build/shim/ldflags -Wl,-z,defs
	@mv $@.tmp $@

# FAISS is linked in, and none of its symbols leave the library. BLAS is the engine's, by the same rpath.
$(FAISS): $(wildcard faiss/shim/*) build/shim/ldflags
	@echo '  CXX  $@'
	@$(CXX) -std=c++20 -fPIC $(WARNINGS) $(CXXFLAGS) -fopenmp -fvisibility=hidden -shared -o $@.tmp faiss/shim/faiss.cc \
		-Wl,--exclude-libs,ALL -Wl,--gc-sections -lfaiss -lgomp -Wl,--as-needed -lblas -llapack $(filter -Wl%,$(file <build/shim/ldflags)) -Wl,-z,defs
	@mv $@.tmp $@

-include $(SHIM:.o=.d)

# ---- program ----

# What --version says where Go finds no commit, as in a worktree of git.
COMMIT = $(shell git describe --always --exclude='*' --abbrev=12 --dirty=+dirty 2>/dev/null)

build: ## build bin/arf
	@$(GO) build -ldflags '-X arf/internal/cli.commit=$(COMMIT)' -o bin/arf ./cmd/arf

demo: ## the whole method on the icon benchmark, from data to report; finished steps are skipped
	@$(MAKE) --no-print-directory setup
	@$(MAKE) --no-print-directory engine
	@$(MAKE) --no-print-directory build
	bin/arf demo $(ARGS)

results: setup engine build ## the numbers of docs/results.md: all methods, seeds, pretrained models; hours, resumable
	bin/arf data icons --out data/icons
	bin/arf pretrain clip configs/pretrain-icon-clip.yaml --seed 2 --steps 4020 --out runs/pretrain-icon-clip-2
	scripts/results.sh models/icon-clip runs/pretrain-icon-clip-2/model -- $(ARGS)

sweep: setup engine build ## the settings table of docs/results.md, chosen on validation data; about an hour, resumable
	@test -d data/icons || bin/arf data icons --out data/icons
	@scripts/sweep.sh validation $(ARGS)

# ---- checks ----

test: ## set up, build, vet, and run all tests, end-to-end ones too
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory engine
	@$(MAKE) --no-print-directory build
	@$(MAKE) --no-print-directory test-go

test-go: ## vet and test only (PKG=./clip for one package)
	$(GO) vet $(PKG)
	@# Packages are tested side by side, so threads of one that wait must not spin.
	OMP_WAIT_POLICY=PASSIVE $(GO) test -count=1 -timeout=20m $(PKG)

test-milvus: engine ## the tests that need Milvus servers, which are fetched from PyPI (ARGS='-run=…')
	@scripts/milvus.sh $(ARGS)

lint: ## golangci-lint and shellcheck
	@scripts/setup.sh lint
	$(GO) run $(GOLANGCI_LINT) run
	shellcheck -x scripts/*.sh scripts/go .ci/run

fuzz: ## run every fuzz target for FUZZTIME
	@scripts/fuzz.sh $(FUZZTIME) $(PKG)

soak: ## train SOAK steps of a tiny model: flat memory, no tensor or goroutine left over
	ARF_SOAK_STEPS=$(SOAK) $(GO) test -run='^TestSoak$$' -v -count=1 -timeout=2h ./finetune

bench: ## measure against PyTorch → docs/bench.json, docs/bench.md; about an hour, resumable (ARGS="--only ROW --quick")
	@scripts/setup.sh bench
	@$(MAKE) --no-print-directory engine
	@$(MAKE) --no-print-directory build
	@# Without the commit's name in it: rounds of the same program are not measured again.
	@$(GO) build -buildvcs=false -o bin/bench ./cmd/bench
	@test -d data/icons || bin/arf data icons --out data/icons
	bin/bench $(if $(PEER),--open-clip --python $(PEER)) $(ARGS)

bench-go: ## run the Go benchmarks of packages
	$(GO) test -run='^$$' -bench=. -benchmem $(PKG)

VECTORS ?= 3000000
bench-index: engine build ## exact (fp32, bf16) and FAISS search of VECTORS=3000000 vectors → docs/bench-index.json; hours
	bin/arf data icons --out data/icons
	bin/arf embed models/icon-clip data/icons/pool --out build/bench-index
	ARF_BENCH_OUT=$(CURDIR)/docs/bench-index.json ARF_BENCH_FEATURES=$(CURDIR)/build/bench-index ARF_BENCH_VECTORS=$(VECTORS) \
		$(GO) test ./index -run='^TestScale$$' -count=1 -v -timeout=24h

golden: ## write the golden files anew with transformers, open_clip and Pillow (needs Debian's python3-torch)
	@scripts/golden/run.sh golden

parity: build ## let transformers, open_clip and Python's faiss load what arf writes; measured errors → build/parity*.json
	@scripts/golden/run.sh parity

clean: ## remove what was built; data and runs stay
	rm -rf bin build/shim $(ENGINE) $(FAISS)

.PHONY: help setup engine build demo results sweep test test-go test-milvus lint fuzz soak bench bench-go bench-index golden parity clean
