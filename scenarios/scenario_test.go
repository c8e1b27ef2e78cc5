package scenarios_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
	"dq/scenarios"
	"dq/scenarios/runner"
)

func TestScenarios_LoseNothing(t *testing.T) {
	t.Parallel()
	for _, plan := range scenarios.Plans() {
		t.Run(plan.Name, func(t *testing.T) {
			t.Parallel()
			brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
				b := brokertest.Start(t, cfg)

				report := runPlan(t, scenarios.Run{Plan: plan, Broker: b.URL()})

				for _, consumer := range plan.Consumers {
					lines := 0
					for _, result := range report.Results {
						if result.Consumer == consumer.ID {
							lines += result.Consumed
						}
					}
					assert.Equal(t, plan.Consumed(consumer), lines, "lines of consumer %d", consumer.ID)
				}
			})
		})
	}
}

func TestPlan_5P3CHasTheLinesInUse(t *testing.T) {
	t.Parallel()
	plan, err := scenarios.FindPlan("5P3C")
	require.NoError(t, err)

	var consumed []int
	for _, consumer := range plan.Consumers {
		consumed = append(consumed, plan.Consumed(consumer))
	}

	assert.Equal(t, 4965, plan.Produced())
	assert.Equal(t, []int{4965, 2648, 2648}, consumed)
}

// A broker that stops finishes the calls under way, and clients repeat those that had
// not begun, so they do not notice the restart.
func TestScenarios_LoseNothingInARestart(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config(t.TempDir())
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, err := broker.Start(t.Context(), cfg, logger)
	require.NoError(t, err)

	var mu sync.Mutex
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		assert.NoError(t, b.Stop(context.Background()))
	})

	url := b.URL()
	cfg.Addr = strings.TrimPrefix(url, "http://")
	plan, err := scenarios.FindPlan("5P3C")
	require.NoError(t, err)

	runPlan(t, scenarios.Run{
		Plan: plan, Broker: url,
		Midway: func(ctx context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			if err := b.Stop(ctx); err != nil {
				return err
			}
			b, err = broker.Start(ctx, cfg, logger)
			return err
		},
	})
}

// runPlan runs a plan and checks it.
func runPlan(t *testing.T, run scenarios.Run) scenarios.Report {
	t.Helper()
	run.Dir, run.Timeout = t.TempDir(), 2*time.Second
	require.NoError(t, scenarios.WriteLogs(run.Plan, run.Dir))

	require.NoError(t, run.Do(t.Context()))

	report, err := scenarios.Check(run.Plan, run.Dir)
	require.NoError(t, err)
	assert.Empty(t, report.Faults)
	return report
}

// small is a plan of one topic. Its files are written by hand in tests.
var small = scenarios.Plan{
	Name:      "small",
	Producers: []scenarios.Producer{{ID: 1, Topics: []string{"T"}, Lines: 4}, {ID: 2, Topics: []string{"T"}, Lines: 3}},
	Consumers: []scenarios.Consumer{{ID: 1, Topics: []string{"T"}}, {ID: 2, Topics: []string{"T"}}},
}

func TestCheck_FindsEachDifference(t *testing.T) {
	t.Parallel()
	const p1, p2 = "a b c a", "a x y"
	tests := []struct {
		name   string
		c1, c2 string // messages of topic T, or OTHER/MESSAGE for another topic
		fault  string // "" if nothing differs
	}{
		{"one after the other", "a b c a a x y", "a b c a a x y", ""},
		{"by turns", "a a b x c y a", "a a b x c y a", ""},
		{"the second first", "a x y a b c a", "a x y a b c a", ""},
		{"lost", "a b c a a x", "a b c a a x", "consumer_1.txt: at the end: found no more of topic T, want y"},
		{"lost within", "a b a a x y", "a b a a x y", "consumer_1.txt:4: found a of topic T, want c or x"},
		{"twice", "a b c a a x y y", "a b c a a x y y", "consumer_1.txt:8: found y of topic T, want the end of T"},
		{"swapped", "a c b a a x y", "a c b a a x y", "consumer_1.txt:2: found c of topic T, want a or b or x"},
		{"never sent", "a b c a z a x y", "a b c a z a x y", "consumer_1.txt:5: found z"},
		{"another consumer has another order", "a b c a a x y", "a a b x c y a", "topic T: the orders differ: consumer_1.txt:2 b, consumer_2.txt:2 a"},
		{"another consumer has less", "a b c a a x y", "a b c a a x", "consumer_2.txt: at the end: found no more"},
		{"another topic", "a b c a a x y U/a", "a b c a a x y", "consumer_1.txt:8: topic \"U\" is not one of this consumer's"},
		{"nothing", "", "", "consumer_1.txt: at the end: found no more of topic T, want a"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for i, messages := range []string{p1, p2} {
				writeProduced(t, dir, i+1, messages)
			}
			for i, messages := range []string{test.c1, test.c2} {
				writeConsumed(t, dir, i+1, messages)
			}

			report, err := scenarios.Check(small, dir)
			require.NoError(t, err)
			var out strings.Builder
			require.NoError(t, report.Write(&out))

			if test.fault == "" {
				assert.True(t, report.OK(), out.String())
				assert.Contains(t, out.String(), "small ok: 7 lines were produced, C1 got 7, C2 got 7")
				return
			}
			assert.False(t, report.OK())
			assert.Contains(t, strings.Join(report.Faults, "\n"), test.fault)
			assert.Contains(t, out.String(), "DIFFERS")
			assert.Contains(t, out.String(), test.fault)
		})
	}
}

// writeProduced writes the file of a producer of topic T.
func writeProduced(t *testing.T, dir string, id int, messages string) {
	t.Helper()
	var log strings.Builder
	for _, message := range strings.Fields(messages) {
		fmt.Fprintf(&log, "09:00:00\t%s\t\tP%d-1\t\tT\n", message, id)
	}
	require.NoError(t, os.WriteFile(runner.ProducerFile(dir, id), []byte(log.String()), 0o600))
}

// writeConsumed writes the file of a consumer; each message is one of topic T or
// OTHER/MESSAGE.
func writeConsumed(t *testing.T, dir string, id int, messages string) {
	t.Helper()
	var log strings.Builder
	for _, message := range strings.Fields(messages) {
		topic := "T"
		if other, rest, ok := strings.Cut(message, "/"); ok {
			topic, message = other, rest
		}
		log.WriteString(runner.FormatConsumed(topic, message))
	}
	require.NoError(t, os.WriteFile(runner.ConsumerFile(dir, id), []byte(log.String()), 0o600))
}

func TestGenerate_LogsAreAlwaysTheSame(t *testing.T) {
	t.Parallel()
	for _, plan := range scenarios.Plans() {
		first, second := t.TempDir(), t.TempDir()
		require.NoError(t, scenarios.WriteLogs(plan, first))
		require.NoError(t, scenarios.WriteLogs(plan, second))

		for _, producer := range plan.Producers {
			a, err := os.ReadFile(runner.ProducerFile(first, producer.ID))
			require.NoError(t, err)
			b, err := os.ReadFile(runner.ProducerFile(second, producer.ID))
			require.NoError(t, err)
			assert.Equal(t, string(a), string(b))
			assert.Equal(t, producer.Lines, strings.Count(string(a), "\n"))
			for _, level := range []string{"INFO", "WARN", "DEBUG", "ERROR"} {
				assert.Contains(t, string(a), "\t"+level+"\t\tP")
			}
		}
	}
}

func TestCheck_MissingFileIsAnError(t *testing.T) {
	t.Parallel()

	_, err := scenarios.Check(scenarios.Plans()[0], filepath.Join(t.TempDir(), "none"))

	assert.ErrorIs(t, err, os.ErrNotExist)
}
