#!/usr/bin/env bash
# Installs Pare into a folder of its own, moves that folder, and builds and runs examples/embed against it: what is
# installed must be enough, wherever it lies.
#   test.sh BUILD MODEL IMAGE.ppm CLASS
set -euo pipefail
build=$(realpath "$1"); model=$(realpath "$2"); image=$(realpath "$3"); class=$4
source=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
cmake --install "$build" --prefix "$folder/first" >/dev/null
mv "$folder/first" "$folder/moved"
cmake -S "$source/examples/embed" -B "$folder/build" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror" \
  -DCMAKE_C_FLAGS="-Wall -Wextra -Werror" -DCMAKE_PREFIX_PATH="$folder/moved" >/dev/null
cmake --build "$folder/build" >/dev/null

for program in classify classify_c; do
  said=$("$folder/build/$program" "$model" "$image")
  [ "$said" = "$class" ] || { echo "$program: expected '$class', found '$said'"; exit 1; }
  if message=$("$folder/build/$program" "$folder/none.pare" "$image" 2>&1); then echo "$program: a missing model passed"; exit 1; fi
  [[ $message == *none.pare* && $(wc -l <<<"$message") = 1 ]] || { echo "$program: a missing model, and it said: $message"; exit 1; }
done
# The library shows what include/pare declares and nothing else, and needs no package to be installed with it.
library=$(find "$folder/moved" -name libpare.so)
strangers=$(nm -DC --defined-only "$library" | cut -d' ' -f3- | grep -vE '^(pare_[a-z_]+|pare::Session::[^:]*\(.*|pare::status_code_name\(.*)$' || true)
[ -z "$strangers" ] || { echo "libpare.so also shows: $strangers"; exit 1; }
needed=$(readelf -d "$library" | grep NEEDED | grep -vE 'lib(stdc\+\+|m|gcc_s|c|pthread|dl)\.so|ld-linux' || true)
[ -z "$needed" ] || { echo "libpare.so also needs: $needed"; exit 1; }
# The installed program finds the images that came with it.
test -f "$folder/moved/share/pare/data/cifar-10-builtin/test.pimg"
version=$(cd / && env -u PARE_HOME "$folder/moved/bin/pare" --version) || { echo "the installed program does not start"; exit 1; }
[[ $version == "pare "[0-9]* ]] || { echo "pare --version said: $version"; exit 1; }
if [ -e "$build/pare-train" ]; then
  fields=$(cd / && "$folder/moved/bin/pare" train --fields)
  grep -q '^optimiser.lr ' <<<"$fields" || { echo "the installed program does not train"; exit 1; }
fi
echo "embedding: both examples build and run on the installed tree"
