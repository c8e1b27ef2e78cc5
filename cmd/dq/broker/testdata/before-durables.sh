#!/usr/bin/env bash
# Make before-durables.tar.gz: a data directory of the last dq that kept the leases of work
# queues in the entries of cursors. Run it with the path of that dq (commit 750f569).
set -euo pipefail
cd "$(dirname "$0")"
dq=$1
dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT

DQ_DATA_DIR=$dir/data DQ_ADDR=127.0.0.1:5999 "$dq" serve &
broker=$!
trap 'kill -9 "$broker"; rm -r "$dir"' EXIT
until curl -sf 127.0.0.1:5999/readyz >"$dir/out"; do sleep 0.1; done

url=http://127.0.0.1:5999/v1/topics
call() { curl -sf -X POST -H 'Content-Type: application/json' "$url/$1" -d "${2:-}"; }
tokens() { grep -o '"token":"[^"]*"' | cut -d: -f2 | paste -sd,; }

curl -sf -X PUT "$url/T" >"$dir/out"
for text in {1..10}; do
    curl -sf -X POST -H 'Content-Type: text/plain' "$url/T/messages" -d "$text" >"$dir/out"
done

# A worker that has not acknowledged 2 and 5. Its leases will have ended: 8 to 10 were never delivered.
call T/consumers '{"name":"worker","mode":"lease","start":"first","lease":"100ms"}' >"$dir/out"
all=$(call "T/consumers/worker/fetch?limit=7" | tokens)
done=$(cut -d, -f1,3,4,6,7 <<<"$all")
call T/consumers/worker/ack "{\"tokens\":[$done]}" >"$dir/out"
call T/consumers/worker/nack "{\"tokens\":[$(cut -d, -f2 <<<"$all")]}" >"$dir/out"
echo "tokens of the worker: $all"

# Others: all acknowledged, never used, sought and paused, and a log reader.
call T/consumers '{"name":"idle","mode":"lease","start":"first"}' >"$dir/out"
all=$(call "T/consumers/idle/fetch?limit=3" | tokens)
call T/consumers/idle/ack "{\"tokens\":[$all]}" >"$dir/out"
call T/consumers '{"name":"unused.one","mode":"lease","start":6}' >"$dir/out"
call T/consumers '{"name":"paused","mode":"lease"}' >"$dir/out"
call T/consumers/paused/seek '{"to":4}' >"$dir/out"
call T/consumers/paused/pause '{"for":"8760h"}' >"$dir/out"
call T/consumers '{"name":"reader","start":"first"}' >"$dir/out"
call "T/consumers/reader/fetch?limit=4" >"$dir/out"

kill -9 "$broker"
wait "$broker" || true
trap 'rm -r "$dir"' EXIT
tar -cz --exclude spare -C "$dir/data" . >before-durables.tar.gz
