#!/usr/bin/env bash
# Two producers and two consumers, all on T1 and T2: 100 rounds each.
. "$(dirname "$0")/lib.sh"
build
dq scenario logs 2P2C "$work"
create T1 T2
consume 1 T1 T2
consume 2 T1 T2
produce 1 T1 T2
produce 2 T1 T2
await "${producers[@]}" "${consumers[@]}"
dq scenario check 2P2C "$work"
