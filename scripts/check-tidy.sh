#!/usr/bin/env bash
# clang-tidy over the sources of the Torch-free rooms (Torch's headers cost it a minute a file), headers through them; warnings are
# errors. Each room is read as the one source that PARE_UNITY makes of it: headers are parsed once a room, not once a file, which
# makes a room of 25 files 19 seconds instead of three minutes. Clang's path analyser, two thirds of the time, runs only when
# asked for. FILEs are checked each on its own.
#   check-tidy.sh [--deep] [FILE...]
set -euo pipefail
cd "$(dirname "$0")/.."
# A room's one source includes others on purpose.
checks=-bugprone-suspicious-include,-clang-analyzer-*
if [ "${1:-}" = --deep ]; then checks=-bugprone-suspicious-include; shift; fi
unity=ON
if [ $# -gt 0 ]; then unity=OFF; fi
# Configured alone, nothing built: for the compilation database.
cmake -G Ninja -B build/tidy -DPARE_TRAIN=OFF -DPARE_UNITY=$unity >/dev/null
if [ $# -gt 0 ]; then files=("$@"); else
  # Not what other programs generate, and no tests.
  mapfile -t files < <(grep -oP '"file": "\K[^"]+' build/tidy/compile_commands.json | sort -u |
    grep -E "^$PWD/(src/|build/tidy/src/.*/Unity/)" | grep -vE '\.cu$|_test\.cc$|_test\.dir/|/(test|bench|toy)\.cc$|^[^ ]*/src/train/')
fi
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 1 clang-tidy -p build/tidy --quiet --checks="$checks" \
  --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-unused-command-line-argument \
  --warnings-as-errors='*' 2> >(grep -vE 'warnings? generated|^Suppressed|^Use -' >&2)
echo "clang-tidy: ${#files[@]} sources without a finding"
