# shellcheck shell=bash
# The functions that the scenario scripts share. Each script takes HOST PORT. It
# uses the commands in $BIN or, if BIN is not set, builds them with Go.
set -euo pipefail

if (($# != 2)); then
  echo "usage: $0 HOST PORT" >&2
  exit 2
fi
broker=$1:$2
url=http://$broker
scenarios=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
finish() {
  local pids
  pids=$(jobs -p)
  # shellcheck disable=SC2086 # one word for each process
  [[ -z $pids ]] || kill $pids 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

# build puts the commands on the PATH.
build() {
  if [[ -z ${BIN-} ]]; then
    BIN=$work/bin
    (cd "$scenarios/.." && go build -o "$BIN/" ./cmd/dq ./cmd/runproduce ./cmd/runconsume)
  fi
  PATH=$BIN:$PATH
  dq health --broker "$broker"
}

# create creates topics; those that exist stay as they are.
create() {
  for topic; do
    curl -sS -o "$work/answer" -H 'Content-Type: application/json' -d "{\"topic_name\":\"$topic\"}" "$url/topics"
  done
}

# consume ID TOPIC... starts a consumer and returns when it is registered.
consume() {
  runconsume --id "$1" --topics "${@:2}" --broker "$broker" --log_loc "$work" --timeout 2s &
  consumers+=($!)
  until [[ -e $work/consumer_$1.txt ]]; do
    kill -0 $! || exit 1
    sleep 0.05
  done
}

# produce ID TOPIC... starts a producer.
produce() {
  runproduce --id "$1" --topics "${@:2}" --broker "$broker" --log_loc "$work" &
  producers+=($!)
}

# await waits for processes and fails if one of them failed.
await() {
  for pid; do wait "$pid"; done
}

consumers=() producers=()
