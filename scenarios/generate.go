package scenarios

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"dq/scenarios/runner"
)

var levels = []string{"INFO", "WARN", "DEBUG", "ERROR"}

// WriteLogs writes the log files of the plan's producers to dir. It creates dir if it
// does not exist, and overwrites older files.
func WriteLogs(plan Plan, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, producer := range plan.Producers {
		if err := writeLogFile(producer, runner.ProducerFile(dir, producer.ID)); err != nil {
			return err
		}
	}
	return nil
}

func writeLogFile(producer Producer, name string) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}

	err = Generate(file, producer)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Generate writes the log of producer. The same producer always gets the same log. All
// lines of a round have one time, 0 to 2 seconds after that of the round before.
func Generate(w io.Writer, producer Producer) error {
	out := bufio.NewWriter(w)
	random := rand.New(rand.NewPCG(uint64(producer.ID), 0))
	at := time.Date(2000, 1, 1, 9, 0, 0, 0, time.UTC) // only the time of day is written

	for i := range producer.Lines {
		round, turn := i/len(producer.Topics), i%len(producer.Topics)
		if turn == 0 && round > 0 {
			at = at.Add(time.Duration(random.IntN(3)) * time.Second)
		}

		level := levels[random.IntN(len(levels))]
		fmt.Fprintf(out, "%s\t%s\t\tP%d-%d\t\t%s\n",
			at.Format(time.TimeOnly), level, producer.ID, round+1, producer.Topics[turn])
	}
	return out.Flush() // returns the error of the first write that failed
}
