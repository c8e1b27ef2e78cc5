#!/usr/bin/env bash
# Five producers of 993 lines each and three consumers, on T1, T2 and T3.
. "$(dirname "$0")/lib.sh"
build
dq scenario logs 5P3C "$work"
create T1 T2 T3
consume 1 T1 T2 T3
consume 2 T1 T3
consume 3 T1 T3
produce 1 T1 T2 T3
produce 2 T1 T3
produce 3 T1
produce 4 T2
produce 5 T2
await "${producers[@]}" "${consumers[@]}"
dq scenario check 5P3C "$work"
