#!/usr/bin/env bash
# Builds every fuzz target of tests/fuzz with clang's libFuzzer, AddressSanitizer and UBSan, and runs each on its
# seed corpus for the given seconds (15 if none are given), two at a time or as many as there are cores. A crash, a leak,
# 20 s for one file or 2 GiB of memory fails; the file that did it is kept in build/fuzz.
# The files tried are the same each time, so that a change is not judged by luck; PARE_FUZZ_SEED=0 draws others.
#   scripts/fuzz.sh [SECONDS [TARGET...]]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-15}; shift || true
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz -j "$(nproc)"
mapfile -t targets < <(sed -n 's/^PARE_FUZZ(\(.*\))$/\1/p' tests/fuzz/targets.inc)
[ $# -eq 0 ] || targets=("$@")
mkdir -p build/fuzz

run_target() {
  local name=$1 seconds=$2 log=build/fuzz/$1.log
  # New inputs go to the first folder; the seeds in the repository stay as they are.
  mkdir -p "build/fuzz/corpus/$name"
  if ! "build/asan-ubsan/tests/fuzz/fuzz_$name" "build/fuzz/corpus/$name" "tests/fuzz/corpus/$name" -max_total_time="$seconds" \
    -seed="${PARE_FUZZ_SEED:-1}" \
    -max_len=16384 -rss_limit_mb=2048 -timeout=20 -artifact_prefix="build/fuzz/$name-" -print_final_stats=1 >"$log" 2>&1; then
    echo "fuzz $name: FAILED"
    grep -aE 'ERROR|SUMMARY|Test unit written|runtime error|^ *#[0-9]+ .*pare' "$log" | head -n 20
    return 1
  fi
  echo "fuzz $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") files, no finding"
}
export -f run_target
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'run_target "$@"' _ {} "$seconds"
