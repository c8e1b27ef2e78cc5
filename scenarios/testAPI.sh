#!/usr/bin/env bash
# Every call of the classic API, with its successes and its refusals. Each run uses
# new topics, so that it can run again on the same broker.
. "$(dirname "$0")/lib.sh"

t1=api-$$-$RANDOM-1 t2=api-$$-$RANDOM-2 none=api-$$-none
failed=0 passed=0

# expect NAME STATUS ANSWER CURL-ARGUMENT... checks one call; ANSWER is a part of the body.
expect() {
  local status body
  status=$(curl -sS -o "$work/body" -w '%{http_code}' "${@:4}") || status=none
  body=$(<"$work/body")
  if [[ $status == "$2" && $body == *"$3"* ]]; then
    echo "ok    $1"
    passed=$((passed + 1))
  else
    echo "FAIL  $1: want $2 and $3; got $status and $body"
    failed=$((failed + 1))
  fi
}
post() { expect "$1" "$2" "$3" -H 'Content-Type: application/json' -d "$5" "$url$4"; }
get() { expect "$1" "$2" "$3" "$url$4"; }
# id prints the number at the end of the last answer.
id() { grep -oE '"(producer|consumer)_id":[0-9]+' "$work/body" | grep -oE '[0-9]+$'; }

post "create a topic" 200 "\"Topic:$t1 created successfully\"" /topics "{\"topic_name\":\"$t1\"}"
post "create it again" 400 "\"Topic:$t1 already exist\"" /topics "{\"topic_name\":\"$t1\"}"
post "create a reserved name" 400 '"invalid_topic_name"' /topics '{"topic_name":"subl"}'
post "create without a name" 400 topic_name /topics '{}'
post "create with nonsense" 400 '"failure"' /topics 'nonsense'
get "list the topics" 200 "\"$t1\"" /topics

post "register a consumer" 200 '"consumer_id":' /consumer/register "{\"topic\":\"$t1\"}"
consumer=$(id)
post "register another" 200 "\"consumer_id\":$((consumer + 1))" /consumer/register "{\"topic\":\"$t1\"}"
post "register a consumer for no topic" 400 "\"Topic:$none does not exist\"" /consumer/register "{\"topic\":\"$none\"}"
post "register a producer" 200 '"producer_id":' /producer/register "{\"topic\":\"$t1\"}"
producer=$(id)
post "register a producer, making the topic" 200 '"producer_id":' /producer/register "{\"topic\":\"$t2\"}"

post "produce" 200 '"success"' /producer/produce "{\"topic\":\"$t1\",\"producer_id\":$producer,\"message\":\"INFO\"}"
post "produce, the id as a string" 200 '"success"' \
  /producer/produce "{\"topic\":\"$t1\",\"producer_id\":\"$producer\",\"message\":\"WARN\"}"
post "produce as nobody" 400 '"Producer:-1 does not exist"' \
  /producer/produce "{\"topic\":\"$t1\",\"producer_id\":-1,\"message\":\"x\"}"
post "produce to no topic" 400 "\"Topic:$none does not exist\"" \
  /producer/produce "{\"topic\":\"$none\",\"producer_id\":$producer,\"message\":\"x\"}"
post "produce to another topic" 400 "\"Producer:$producer is not registered with Topic:$t2\"" \
  /producer/produce "{\"topic\":\"$t2\",\"producer_id\":$producer,\"message\":\"x\"}"

at="topic=$t1&consumer_id=$consumer"
get "size" 200 '"size":2' "/size?$at"
get "consume" 200 '"INFO"' "/consumer/consume?$at"
get "size after one" 200 '"size":1' "/size?$at"
get "consume the next" 200 '"WARN"' "/consumer/consume?$at"
get "consume when nothing is left" 400 "\"Empty logs for Comsumer:$consumer for Topic:$t1\"" "/consumer/consume?$at"
expect "the parameters as a body" 200 '"INFO"' -X GET -H 'Content-Type: application/json' \
  -d "{\"topic\":\"$t1\",\"consumer_id\":$((consumer + 1))}" "$url/consumer/consume"
get "consume as nobody" 400 '"Consumer:-1 does not exist"' "/consumer/consume?topic=$t1&consumer_id=-1"
get "consume from no topic" 400 "\"Topic:$none does not exist\"" "/consumer/consume?topic=$none&consumer_id=$consumer"
get "consume from another topic" 400 "\"Consumer:$consumer is not registered with Topic:$t2\"" \
  "/consumer/consume?topic=$t2&consumer_id=$consumer"
get "size as nobody" 400 '"Consumer:-1 does not exist"' "/size?topic=$t1&consumer_id=-1"
get "size of no topic" 400 "\"Topic:$none does not exist\"" "/size?topic=$none&consumer_id=$consumer"
get "size of another topic" 400 "\"Consumer:$consumer is not registered with Topic:$t2\"" \
  "/size?topic=$t2&consumer_id=$consumer"

echo "$passed passed, $failed failed"
((failed == 0))
