#!/usr/bin/env bash
# Ranks on hosts of their own (network namespaces), joined by a wire: the gradients go over it, and the result is there.
#   hosts.sh PARE RANKS_NETNS
set -euo pipefail
pare=$(realpath "$1")
netns=$(realpath "$2")
. "$(dirname "$(realpath "$0")")"/photos.sh
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
cd "$folder"
make_photos
code=0
"$netns" 3 "$pare" train --threads 1 --model vit-seed --data photos --epochs 2 --batch-size 8 \
  --out run --json >out 2>err || code=$?
[ $code != 77 ] || { cat out; exit 77; }
[ $code = 0 ] || { cat out err; exit 1; }
[ -e run/model.onnx ]
# A sum over ranks sends at least its bytes twice, less what each rank has already (docs/scaling.md).
sed -n '/^{/,/^}/p' out >result.json
bytes=$(sed -n 's/.*"bytes": \([0-9]*\).*/\1/p' result.json)
[ "$bytes" -gt 0 ]
for r in 0 1 2; do
  sent=$(sed -n "s/^rank $r: \([0-9]*\) bytes sent.*/\1/p" out)
  awk -v sent="$sent" -v least="$bytes" 'BEGIN { exit !(sent >= least * 4 / 3) }' ||
    { echo "rank $r sent $sent bytes, for $bytes of gradients:"; cat out; exit 1; }
done
echo "hosts: $bytes bytes of gradients, sent over the wire"
