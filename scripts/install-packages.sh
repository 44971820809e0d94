#!/usr/bin/env bash
# Installs the missing ones of the packages listed in the given files (scripts/packages.txt if none is
# given), naming them first. Without root and sudo it lists them and stops.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- scripts/packages.txt
mapfile -t wanted < <(cat "$@" | sed 's/#.*//' | tr -s ' ' '\n' | grep -v '^$' | sort -u)
missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
echo "Missing packages: ${missing[*]}"
if [ "$(id -u)" = 0 ]; then
  as_root=()
elif command -v sudo >/dev/null; then
  as_root=(sudo)
else
  echo "They need root to be installed, and neither root nor sudo is at hand. As root, run:" >&2
  echo "  apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "Installing them with apt-get."
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
