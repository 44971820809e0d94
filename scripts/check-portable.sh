#!/bin/bash
# Pare on processors without AVX2: kernel, graph and session tests of the ordinary x86-64 build on a Nehalem, and
# of a cross build for aarch64, both under qemu-user. Build first: cmake --build --preset no-torch.
# Usage: check-portable.sh [GTEST_FILTER]
set -euo pipefail
cd "$(dirname "$0")/.."

filter=${1:-*}
packages=build/aarch64-packages
# Of scripts/packages.txt, what is linked with or included.
libraries="libbenchmark-dev libbenchmark1debian libcli11-dev libeigen3-dev libfmt-dev libgmock-dev libgtest-dev libpng-dev libprotozero-dev
           libtomlplusplus-dev libturbojpeg0-dev libxxhash-dev libzstd-dev nlohmann-json3-dev zlib1g-dev"
tests="base/base_test kernels/kernels_test graph/graph_test runtime/runtime_test"

missing=()
command -v aarch64-linux-gnu-g++ >/dev/null || missing+=(g++-aarch64-linux-gnu)
command -v qemu-aarch64 >/dev/null && command -v qemu-x86_64 >/dev/null || missing+=(qemu-user)
if ((${#missing[@]})); then
  echo "check-portable: these packages are missing: ${missing[*]}" >&2
  exit 2
fi

# Unpacked under build/, so that the system needs no second architecture.
fetch_packages() {
  [[ -e $packages/done ]] && return
  local state=$PWD/$packages/apt
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$packages/root"
  local apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State::lists=$state/lists"
             -o "Dir::Cache=$state/cache" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  # shellcheck disable=SC2086
  (cd "$packages" && "${apt[@]}" download $libraries)
  for one in "$packages"/*.deb; do dpkg -x "$one" "$packages/root"; done
  touch "$packages/done"
}

run_tests() {  # BUILD QEMU...
  local build=$1
  shift
  for test in $tests; do
    PARE_HOME=$PWD "$@" "$build/src/$test" --gtest_brief=1 --gtest_filter="$filter"
  done
}

fetch_packages
cmake --preset aarch64 >/dev/null
# shellcheck disable=SC2086
cmake --build --preset aarch64 --target $(basename -a $tests)
echo "x86-64 without AVX2:"
run_tests build/no-torch qemu-x86_64 -cpu Nehalem
echo "aarch64:"
run_tests build/aarch64 qemu-aarch64 -L /usr/aarch64-linux-gnu
