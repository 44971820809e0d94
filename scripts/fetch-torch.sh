#!/bin/sh
# Downloads the pinned LibTorch wheels (torch-wheels.txt, checked by hash) and unpacks what a C++
# build needs of them: DEST/torch/{lib,include} and DEST/nvidia/cu13/{lib,include}, side by side,
# for libtorch_cpu finds CUDA's runtime by its own relative path.
#
#   scripts/fetch-torch.sh [DEST]        (build/torch of this repository by default)
#
# pip does the downloading, so an index or proxy that it is configured with is honoured. Python runs
# here and never again. Nothing is left half done: DEST appears whole or not at all.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
dest=${1:-$here/../build/torch}
wheels="$here/torch-wheels.txt"

if [ -f "$dest/wheels.txt" ] && cmp -s "$wheels" "$dest/wheels.txt"; then
  exit 0
fi
if ! python3 -m pip --version >/dev/null 2>&1; then
  echo "fetch-torch.sh: python3 with pip is needed to download LibTorch (Debian: python3-pip)" >&2
  exit 1
fi

work="$dest.partial"
rm -rf "$work"
mkdir -p "$work/wheels"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

echo "Fetching LibTorch 2.11.0 (545 MB, once) into $dest"
# The build is for one Python ABI whatever Python runs pip: only the C++ part is used.
python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
  --only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 --abi none \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 \
  --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
  --dest "$work/wheels" --requirement "$wheels"

mkdir "$work/all" "$work/kept" "$work/kept/torch" "$work/kept/nvidia" "$work/kept/nvidia/cu13"
for wheel in "$work"/wheels/*.whl; do
  (cd "$work/all" && cmake -E tar xf "../wheels/$(basename "$wheel")")
done
rm -rf "$work/all/torch/lib/libtorch_python.so"
mv "$work/all/torch/lib" "$work/all/torch/include" "$work/kept/torch/"
mv "$work/all/nvidia/cu13/lib" "$work/all/nvidia/cu13/include" "$work/kept/nvidia/cu13/"
for licence in "$work"/all/*.dist-info; do
  mv "$licence" "$work/kept/"
done
cp "$wheels" "$work/kept/wheels.txt"
rm -rf "$dest"
mv "$work/kept" "$dest"
