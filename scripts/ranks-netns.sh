#!/usr/bin/env bash
# Runs a command as several ranks, each in a network namespace of its own, as if on as many hosts:
#   scripts/ranks-netns.sh [--rate 1gbit] RANKS COMMAND [ARGUMENT...]
# They are joined by a bridge; --rate is the most that each sends (tc). What rank 0 prints is printed, the others
# speak on stderr; at the end stands, for each rank, what it sent and received over its wire. Ends with the
# first exit code that is not 0; with 77 where this user may not make namespaces.
set -euo pipefail
rate=""
if [ "${1:-}" = --rate ]; then rate=$2; shift 2; fi
[ $# -ge 2 ] || { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }
ranks=$1; shift

base=pare$$
made=()
cleanup() {
  for name in "${made[@]}"; do ip netns del "$name" 2>/dev/null || true; done
}
trap cleanup EXIT
if ! ip netns add "$base-bridge" 2>/dev/null; then
  echo "ranks-netns: skipped, for no network namespace can be made here (needs root and ip)"; exit 77
fi
made+=("$base-bridge")
bridge() { ip netns exec "$base-bridge" "$@"; }
bridge ip link add br0 type bridge || { echo "ranks-netns: skipped, for there is no bridge in this kernel"; exit 77; }
bridge ip link set br0 up
for ((r = 0; r < ranks; r++)); do
  name=$base-$r
  ip netns add "$name"; made+=("$name")
  ip -n "$name" link set lo up
  ip -n "$name" link add eth0 type veth peer name "port$r" netns "$base-bridge"
  ip -n "$name" addr add "10.77.$((r / 200)).$((r % 200 + 1))/16" dev eth0
  ip -n "$name" link set eth0 up
  bridge ip link set "port$r" master br0 up
  if [ -n "$rate" ]; then
    ip netns exec "$name" tc qdisc add dev eth0 root tbf rate "$rate" burst 256kb latency 50ms ||
      { echo "ranks-netns: skipped, for this kernel shapes no traffic (tbf)"; exit 77; }
  fi
done

port=$((20000 + $$ % 10000))
pids=()
for ((r = 0; r < ranks; r++)); do
  out=1; [ "$r" = 0 ] || out=2
  RANK=$r WORLD_SIZE=$ranks LOCAL_RANK=0 MASTER_ADDR=10.77.0.1 MASTER_PORT=$port \
    ip netns exec "$base-$r" "$@" >&$out &
  pids+=($!)
done
code=0
for pid in "${pids[@]}"; do
  wait "$pid" || { found=$?; [ $code != 0 ] || code=$found; }
done
for ((r = 0; r < ranks; r++)); do
  ip netns exec "$base-$r" awk -v rank="$r" '$1 == "eth0:" { print "rank " rank ": " $10 " bytes sent, " $2 " received" }' \
    /proc/net/dev
done
exit $code
