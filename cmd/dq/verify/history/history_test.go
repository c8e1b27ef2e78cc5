package history_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/verify/history"
)

func TestPayload_NameIsReadFromTheTextOnly(t *testing.T) {
	t.Parallel()
	names := []string{"1.p1.1", "1.batch.77", "2.end.1"}

	for _, name := range names {
		text := history.Payload(name)

		assert.Equal(t, name, history.NameOf(text))
		assert.NotEqual(t, name, history.NameOf(text+"d"), "a longer text is another message")
		assert.NotEqual(t, name, history.NameOf(text[:len(text)-1]), "a shorter text is another message")
	}
	assert.Equal(t, `"hello" of 5 bytes`, history.NameOf("hello"))
}

func TestPayload_LengthsDiffer(t *testing.T) {
	t.Parallel()
	lengths := make(map[int]bool)
	longest := 0

	for i := range 2000 {
		n := len(history.Payload(fmt.Sprintf("1.p1.%d", i)))
		lengths[n] = true
		longest = max(longest, n)
	}

	assert.Greater(t, len(lengths), 50)
	assert.Greater(t, longest, 1000, "now and then a long one")
}

func TestRecorder_OperationsAreNumberedAndTakenByTopic(t *testing.T) {
	t.Parallel()
	r := history.NewRecorder(nil)
	first := &history.Op{Kind: history.OpProduce, Topic: "a", Outcome: history.OK}
	second := &history.Op{Kind: history.OpConsume, Topic: "b", Outcome: history.Refused, Status: 400}
	notSent := &history.Op{Kind: history.OpProduce, Topic: "a", Outcome: history.Unreachable}

	r.Add(first)
	r.Add(second)
	r.Add(notSent)

	assert.EqualValues(t, 1, first.N)
	assert.EqualValues(t, 2, second.N)
	assert.Equal(t, int64(3), r.Operations())
	assert.Equal(t, []string{"a", "b"}, r.Topics())
	assert.Equal(t, []*history.Op{first}, r.Take("a"), "an operation that was not sent is only counted")
	assert.Empty(t, r.Take("a"), "the history was taken")
	assert.Equal(t, []string{"b"}, r.Topics())
}

func TestRecorder_TotalsCountOutcomesFailuresAndFaults(t *testing.T) {
	t.Parallel()
	r := history.NewRecorder(nil)
	ops := []history.Op{
		{Kind: history.OpProduce, Outcome: history.OK, Status: 200},
		{Kind: history.OpProduce, Outcome: history.Unknown, Status: 500, Code: "unavailable"},
		{Kind: history.OpProduce, Outcome: history.Unknown, Code: "no_answer"},
		{Kind: history.OpProduce, Outcome: history.Unreachable},
		{Kind: history.OpFault, Outcome: history.OK, Name: history.FaultKill},
		{Kind: history.OpStuck, Outcome: history.OK},
		{Kind: history.OpEnd, Outcome: history.OK},
	}

	for i := range ops {
		r.Add(&ops[i])
	}
	r.CountFault(history.FaultClients)
	failed, succeeded := r.Answers()

	assert.Equal(t, history.Totals{
		Operations: 7,
		Outcomes: map[string]map[string]int64{
			history.OpProduce: {history.OK: 1, history.Unknown: 2, history.Unreachable: 1},
		},
		Failures: map[string]int64{"500 unavailable": 1, "0 no_answer": 1},
		Faults:   map[string]int64{history.FaultKill: 1, history.FaultClients: 1},
	}, r.Totals())
	assert.Equal(t, int64(1), failed, "no answer is no failure of the broker")
	assert.Equal(t, int64(1), succeeded)
}

func TestRecorder_LinesReadBackAsTheSameOperations(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := history.NewRecorder(&out)
	op := &history.Op{
		Worker: "w", Facade: 1, Topic: "t", Kind: history.OpFetch, Call: 1, Return: 2, Outcome: history.OK, Status: 200,
		ID: 7, Lease: time.Second, Created: true, LostTokens: []string{"x"},
		Got:      []history.Message{{Sequence: 3, Data: "m", Token: "x", Deliveries: 2, At: 4}},
		Receipts: []history.Receipt{{Sequence: 3, Duplicate: true}},
	}

	r.Add(op)
	require.NoError(t, r.Flush())
	line := out.String()
	var read history.Op
	require.NoError(t, json.Unmarshal(out.Bytes(), &read))

	assert.Equal(t, *op, read)
	assert.Equal(t, 1, strings.Count(line, "\n"))
	for _, field := range []string{`"n":1`, `"made":true`, `"lost":["x"]`, `"receipt":[`, `"lease":1000000000`} {
		assert.Contains(t, line, field, "old histories have this field")
	}
}

func TestRecorder_FlushReturnsTheFirstError(t *testing.T) {
	t.Parallel()
	r := history.NewRecorder(brokenWriter{})

	r.Add(&history.Op{Kind: history.OpSize, Outcome: history.OK})
	err := r.Flush()

	assert.ErrorContains(t, err, "no room")
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, fmt.Errorf("no room") }

func TestOp_TurnedAwayIsARefusalThatMayPass(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"overloaded", "rate_limited", "quota_exceeded", "storage_full"} {
		op := history.Op{Code: code}

		assert.True(t, op.TurnedAway(), code)
	}

	assert.True(t, (&history.Op{Status: 429}).TurnedAway())
	assert.False(t, (&history.Op{Status: 400, Code: "topic_not_found"}).TurnedAway())
	assert.False(t, (&history.Op{Status: 503, Code: "unavailable"}).TurnedAway())
}

func TestOp_StringShowsRequestAndAnswer(t *testing.T) {
	t.Parallel()
	fetch := &history.Op{
		Worker: "w", Kind: history.OpFetch, Call: 1_500_000_000, Return: 2_000_000_000,
		Outcome: history.OK, Status: 200, ID: 4, Limit: 8,
		Got: []history.Message{{Data: "m1", Sequence: 3, Deliveries: 2}, {Data: "m2"}},
	}
	size := &history.Op{
		Worker: "w", Kind: history.OpSize, Outcome: history.Refused, Status: 404, Code: "consumer_not_found",
	}

	fetched, refused := fetch.String(), size.String()

	assert.Equal(t, "    1.500000s to     2.000000s  w        facade 0  "+
		"fetch id=4 limit=8 -> ok got=[m1@3#2 m2]", fetched)
	assert.Contains(t, refused, "size id=0 -> refused status=404 code=consumer_not_found")
}

func TestOp_StringShowsTheFirstOfManyMessages(t *testing.T) {
	t.Parallel()
	op := &history.Op{Kind: history.OpBrowse, Outcome: history.OK}
	for i := range 20 {
		op.Got = append(op.Got, history.Message{Data: fmt.Sprintf("m%d", i)})
	}

	text := op.String()

	assert.Contains(t, text, "m11 and 8 more]")
}
