#!/usr/bin/env bash
# Fails, naming the files, if clang-format would change any C++ file that git tracks.
set -euo pipefail
cd "$(dirname "$0")/.."
git ls-files '*.cc' '*.h' '*.cu' '*.cuh' ':!third_party' | xargs clang-format --dry-run --Werror
echo "format: $(git ls-files '*.cc' '*.h' '*.cu' '*.cuh' ':!third_party' | wc -l) files as .clang-format wants them"
