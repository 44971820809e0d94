#!/usr/bin/env bash
# Builds every fuzz target of tests/fuzz with clang's libFuzzer, AddressSanitizer and UBSan, and runs each on its
# seed corpus for the given seconds (15 if none are given). A crash, a leak or 2 GiB of memory fails.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-15}
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target fuzzers
for target in build/fuzz/tests/fuzz/fuzz_*; do
  [ -x "$target" ] && [ -f "$target" ] || continue
  name=$(basename "$target" | sed 's/^fuzz_//')
  corpus=build/fuzz/corpus/$name; mkdir -p "$corpus"
  # New inputs go to the first folder; the seeds in the repository stay as they are.
  "$target" "$corpus" "tests/fuzz/corpus/$name" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 \
    -artifact_prefix="build/fuzz/$name-" -print_final_stats=1 2>&1 | grep -E 'ERROR|SUMMARY|stat::number_of_executed|Test unit written' |
    sed "s/^/fuzz $name: /"
done
echo "fuzz: every target ran $seconds s without a finding"
