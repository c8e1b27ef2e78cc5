package check_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"dq/cmd/dq/verify/check"
	"dq/cmd/dq/verify/history"
)

// registrations are producers that were registered one after the other and got ids.
func registrations(ids ...int64) *story {
	s := &story{}
	for _, id := range ids {
		s.add("", history.Op{Kind: history.OpRegisterProducer, ID: id})
	}
	return s
}

// checkIDs checks the ids of a run that has the deployment for itself.
func checkIDs(ops []*history.Op) *check.Findings {
	var ids check.IDs
	ids.Add(ops)
	return ids.Check()
}

func TestIDs_DenseInTheOrderOfCallsAreRight(t *testing.T) {
	t.Parallel()
	s := registrations(0, 1, 2, 3)

	found := checkIDs(s.ops)

	assert.Empty(t, texts(found))
	assert.Equal(t, map[string]int64{"ids": 4, "registry": 4}, found.Checked)
}

func TestIDs_GivenTwiceIsAViolation(t *testing.T) {
	t.Parallel()
	s := registrations(0, 1, 1, 2)

	found := checkIDs(s.ops)

	assert.Contains(t, texts(found), "ids: producer id 1 was given twice")
	assert.Len(t, found.Violations[0].Ops, 2)
}

func TestIDs_GapIsAViolationUnlessOthersRegister(t *testing.T) {
	t.Parallel()
	s := registrations(0, 1, 3)
	shared := check.IDs{Shared: true}
	shared.Add(s.ops)

	alone, withOthers := checkIDs(s.ops), shared.Check()

	assert.Contains(t, texts(alone),
		"ids: producer id 2 was skipped (if others use this deployment, say so with --shared)")
	assert.Empty(t, texts(withOthers))
}

func TestIDs_GapIsExplainedByARegistrationWithoutAnswer(t *testing.T) {
	t.Parallel()
	unanswered := history.Op{Kind: history.OpRegisterProducer, Outcome: history.Unknown}
	before, after := registrations(0), registrations(0, 2)
	before.add("", unanswered)
	before.add("", history.Op{Kind: history.OpRegisterProducer, ID: 2})
	after.add("", unanswered)

	explained, tooLate := checkIDs(before.ops), checkIDs(after.ops)

	assert.Empty(t, texts(explained), "it may have used up id 1")
	assert.NotEmpty(t, texts(tooLate), "it was called after id 2 had been given")
}

func TestIDs_LostRaceForANameExplainsAGap(t *testing.T) {
	t.Parallel()
	s := &story{}
	s.add("", history.Op{Kind: history.OpCreateConsumer, Name: "n", ID: 0, Created: true})
	s.add("", history.Op{Kind: history.OpCreateConsumer, Name: "n", ID: 0})
	s.add("", history.Op{Kind: history.OpRegisterConsumer, ID: 2})

	found := checkIDs(s.ops)

	assert.Empty(t, texts(found))
}

func TestIDs_AgainstTheOrderOfCallsIsAViolation(t *testing.T) {
	t.Parallel()
	s := registrations(0, 2, 1)

	found := checkIDs(s.ops)

	assert.Equal(t, []string{
		"registry: the producer ids are not those of a counter that counts one registration after the other",
	}, texts(found))
	assert.Len(t, found.Violations[0].Ops, 2)
}

func TestIDs_RefusedRegistrationsDoNotCount(t *testing.T) {
	t.Parallel()
	s := registrations(0)
	s.add("", history.Op{Kind: history.OpRegisterProducer, Outcome: history.Refused, Status: 429, Code: "rate_limited"})
	s.add("", history.Op{Kind: history.OpRegisterProducer, ID: 1})

	found := checkIDs(s.ops)

	assert.Empty(t, texts(found))
}
