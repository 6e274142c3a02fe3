# Starts what the tests of other languages call: instances of the service on one
# Redis. Sourced by them; $throughline is the binary, and everything that was started
# ends with the shell that sourced this.

# Short, since a socket's path may have no more than about 100 bytes.
scratch=$(mktemp -d /tmp/throughline.XXXXXX)
processes=()

stop() {
  local status=$?
  kill ${processes[@]+"${processes[@]}"} 2>/dev/null || true
  wait
  if [ "$status" -ne 0 ]; then
    echo "$0 failed" >&2
    tail -n 100 "$scratch"/*.{out,log} >&2 || true
  fi
  rm -rf "$scratch"
}
trap stop EXIT

# until_true PROCESS COMMAND...: waits until the command succeeds, as long as the
# process lives, but at most 30 s.
until_true() {
  local process=$1 end=$((SECONDS + 30))
  shift
  until "$@" >/dev/null 2>&1; do
    kill -0 "$process" || return 1
    [ "$SECONDS" -lt "$end" ] || { echo "waited 30 s for: $*" >&2 && return 1; }
    sleep 0.05
  done
}

start_redis() {
  redis-server --port 0 --unixsocket "$scratch/redis.sock" --dir "$scratch" --save '' \
    >"$scratch/redis.log" 2>&1 &
  processes+=($!)
  until_true $! test -S "$scratch/redis.sock"
}

# start_instance NAME FLAG...: sets `address` to where it serves.
start_instance() {
  local name=$1
  shift
  "$throughline" serve --redis "redis+unix://$scratch/redis.sock" --listen 127.0.0.1:0 "$@" \
    >"$scratch/$name.out" 2>"$scratch/$name.log" &
  processes+=($!)
  until_true $! grep -q 'serving gRPC on' "$scratch/$name.out"
  address=$(sed -n 's/.*serving gRPC on //p' "$scratch/$name.out")
}
