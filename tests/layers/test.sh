#!/usr/bin/env bash
# The layer check passes on this tree and fails on a tree with an include that points down.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/check-layers.sh"
tree=$(mktemp -d); trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/src/base" "$tree/src/graph" "$tree/testing"
echo '#include "graph/graph.h"' >"$tree/src/base/a.cc"
echo '#include <ATen/ATen.h>' >"$tree/src/graph/b.cc"
if output=$("$here/check-layers.sh" "$tree"); then echo "a broken tree passed"; exit 1; fi
grep -q 'src/base/a.cc:1: base may not include graph' <<<"$output"
grep -q 'src/graph/b.cc:1: graph includes Torch' <<<"$output"
rm "$tree/src/base/a.cc" "$tree/src/graph/b.cc"
echo 'struct Twin {' >"$tree/src/base/a.h"
"$here/check-layers.sh" "$tree"
echo 'struct Twin {' >"$tree/src/graph/b.h"
if output=$("$here/check-layers.sh" "$tree"); then echo "twin types passed"; exit 1; fi
grep -q 'both have a type Twin' <<<"$output"
