#!/usr/bin/env bash
# clang-tidy over the Torch-free rooms (torch headers cost it a minute a file), warnings are errors.
set -euo pipefail
cd "$(dirname "$0")/.."
cmake --preset no-torch >/dev/null
cmake --build --preset no-torch --target pare_build_info >/dev/null
# A file that the build does not compile (another processor's, say) is not in the compilation database.
mapfile -t files < <(git ls-files 'src/*.cc' | grep -v '^src/train/' |
  while read -r f; do grep -q "/$f\"" build/no-torch/compile_commands.json && echo "$f"; done)
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 1 clang-tidy -p build/no-torch --quiet \
  --extra-arg=-Wno-unknown-warning-option \
  --warnings-as-errors='*' 2> >(grep -vE 'warnings? generated|^Suppressed|^Use -' >&2)
echo "clang-tidy: ${#files[@]} files without a finding"
