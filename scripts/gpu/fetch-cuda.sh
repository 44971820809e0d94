#!/bin/sh
# Adds to an unpacked LibTorch (scripts/fetch-torch.sh) the libraries that its CUDA part loads at run
# time: scripts/gpu/cuda-wheels.txt, checked by hash, about 2 GB. Only the driver must be there already.
#
#   scripts/gpu/fetch-cuda.sh [DEST]        (build/torch of this repository by default)
#
# Run again after an interruption it goes on: a wheel that is unpacked is not fetched again.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
dest=${1:-$here/../../build/torch}
if [ ! -e "$dest/torch/lib/libtorch_cuda.so" ]; then
  echo "fetch-cuda.sh: $dest is not an unpacked LibTorch; run scripts/fetch-torch.sh first" >&2
  exit 1
fi

work="$dest/cuda.partial"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
grep -v '^#' "$here/cuda-wheels.txt" | while read -r wheel; do
  name=${wheel%% *}
  done_file="$dest/nvidia/.${name%%==*}"
  [ -e "$done_file" ] && continue
  echo "Fetching $name"
  rm -rf "$work"
  mkdir -p "$work/all"
  echo "$wheel" >"$work/wheel.txt"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
    --only-binary=:all: --python-version 3.11 --implementation cp --abi none \
    --platform manylinux_2_27_x86_64 --platform manylinux_2_18_x86_64 \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    --platform manylinux_2_12_x86_64 --platform manylinux2010_x86_64 \
    --dest "$work" --requirement "$work/wheel.txt"
  (cd "$work/all" && cmake -E tar xf ../*.whl)
  # Where libtorch_cuda looks for them: nvidia/<part>/lib beside torch/.
  cp -R "$work"/all/nvidia/. "$dest/nvidia/"
  cp -R "$work"/all/*.dist-info "$dest/"
  touch "$done_file"
done
echo "The CUDA part of LibTorch has its libraries in $dest"
