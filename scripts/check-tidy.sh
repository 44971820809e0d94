#!/usr/bin/env bash
# clang-tidy over the sources of the Torch-free rooms (Torch's headers cost it a minute a file), each once, headers through
# them; warnings are errors. Clang's path analyser, two thirds of the time, runs only when asked for.
#   check-tidy.sh [--deep] [FILE...]
set -euo pipefail
cd "$(dirname "$0")/.."
checks=-clang-analyzer-*
if [ "${1:-}" = --deep ]; then checks=; shift; fi
# Configured alone, nothing built: for the compilation database.
cmake -G Ninja -B build/tidy -DPARE_TRAIN=OFF -DPARE_UNITY=OFF >/dev/null
# A file that the build does not compile (another processor's, say) is not in the compilation database.
if [ $# -gt 0 ]; then files=("$@"); else
  mapfile -t files < <(git ls-files 'src/*.cc' | grep -vE '^src/train/|_test\.cc$|/test\.cc$|bench\.cc$' |
    while read -r f; do if grep -q "/$f\"" build/tidy/compile_commands.json; then echo "$f"; fi; done)
fi
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 4 clang-tidy -p build/tidy --quiet --checks="$checks" \
  --extra-arg=-Wno-unknown-warning-option \
  --warnings-as-errors='*' 2> >(grep -vE 'warnings? generated|^Suppressed|^Use -' >&2)
echo "clang-tidy: ${#files[@]} files without a finding"
