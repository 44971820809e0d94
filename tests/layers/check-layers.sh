#!/usr/bin/env bash
# Holds every #include "room/..." under src/ and testing/ against rooms.txt, and Torch's headers against
# src/train; then the types of all rooms against each other: one name, one type. Prints each offence and exits 1 if there is one.
#   check-layers.sh [ROOT]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$here/../..}"
{ find src testing -name '*.cc' -o -name '*.h' -o -name '*.inc' -o -name '*.cu' 2>/dev/null || true; } | sort |
  { xargs grep -nE '^[[:space:]]*#[[:space:]]*include' /dev/null || true; } |
  awk -v rooms="$here/rooms.txt" '
    BEGIN {
      while ((getline line < rooms) > 0) {
        if (line ~ /^#/ || line !~ /:/) continue
        split(line, side, ":"); n = split(side[2], may, " ")
        known[side[1]] = 1; allowed[side[1], side[1]] = 1
        for (i = 1; i <= n; ++i) allowed[side[1], may[i]] = 1
      }
    }
    {
      file = $0; sub(/:.*/, "", file)
      place = $0; sub(/^[^:]*:/, "", place); line = place; sub(/:.*/, "", line)
      target = $0; sub(/^[^"<]*["<]/, "", target); sub(/[">].*/, "", target)
      split(file, path, "/"); room = path[1] == "src" ? path[2] : path[1]
      ++seen
      if (target ~ /^(torch|ATen|c10)\// && room != "train") {
        print file ":" line ": " room " includes Torch (" target "); only train may"; bad = 1
      }
      split(target, part, "/"); other = part[1]
      # Tests may use the shared test helpers, whatever their room.
      if (other == "testing" && file ~ /(_test|\/test|\/bench|_bench)\.cc$/) next
      if (known[other] && !allowed[room, other]) {
        print file ":" line ": " room " may not include " other " (" target ")"; bad = 1
      }
    }
    END {
      if (bad) exit 1
      print "layers: " seen + 0 " includes, each where rooms.txt allows it"
    }'

# Two rooms that give different types one name: the linker keeps one's destructor for both. Those of src/gpu stand in a namespace of
# their own.
duplicates=$({ find src include -name '*.h' 2>/dev/null || true; } | sort |
  { xargs grep -L '^namespace pare::gpu' /dev/null || true; } |
  { xargs grep -HoE '^(struct|class) [A-Z][A-Za-z0-9]*( final)?( :| \{)' /dev/null || true; } |
  awk -F: '{ split($1, path, "/"); room = path[1] == "src" ? path[2] : path[1]; split($2, word, " ")
             if ((word[2] in first) && first[word[2]] != room) print $1 ": " room " and " first[word[2]] " both have a type " word[2]
             first[word[2]] = room }')
if [[ -n $duplicates ]]; then
  echo "$duplicates"
  exit 1
fi
