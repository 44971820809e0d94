# make         builds build/release/pare and pare-train, after installing what is missing to build it
# make test    the whole test suite
# make test-gpu what only a GPU can tell, and which of it ran
# make study   the main job: trade-off table and report.html from real images
# make lite    build/lite/pare: everything but training, no LibTorch, one file to copy
# make check   format, layers and clang-tidy, as CI runs them
# make clean   removes build/

JOBS ?= $(shell nproc)

.PHONY: all packages torch configured release lite test test-gpu study check clean
all: release

packages:
	@scripts/install-packages.sh

torch: packages
	@scripts/fetch-torch.sh

configured: torch
	@cmake --preset release

release: configured
	@cmake --build --preset release -j $(JOBS) --target pare

lite: packages
	@cmake --preset lite
	@cmake --build --preset lite -j $(JOBS) --target pare

test: configured
	@cmake --build --preset release -j $(JOBS)
	@ctest --preset release -j $(JOBS)

test-gpu: configured
	@cmake --build --preset release -j $(JOBS) --target gpu_tests pare_cuda_module
	@scripts/gpu/test.sh

study: release
	@build/release/pare study

check: packages
	@scripts/check-format.sh
	@tests/layers/check-layers.sh
	@scripts/check-tidy.sh

clean:
	rm -rf build
