package scenarios

import (
	"fmt"
	"slices"
	"strings"
)

// Plan describes a scenario: its producers, its consumers, and their topics.
type Plan struct {
	Name      string
	Producers []Producer
	Consumers []Consumer
}

// Producer describes a log runner that produces a file. The topics of its lines
// repeat in the order given: one line for each topic is a round.
type Producer struct {
	ID     int
	Topics []string
	Lines  int
}

// Consumer describes a log runner that consumes topics into a file.
type Consumer struct {
	ID     int
	Topics []string
}

// Plans returns the scenarios.
func Plans() []Plan {
	t12 := []string{"T1", "T2"}
	t123 := []string{"T1", "T2", "T3"}
	t13 := []string{"T1", "T3"}

	return []Plan{
		{
			Name:      "2P2C",
			Producers: []Producer{{1, t12, 200}, {2, t12, 200}}, // 100 rounds
			Consumers: []Consumer{{1, t12}, {2, t12}},
		},
		{
			Name: "5P3C",
			Producers: []Producer{
				{1, t123, 993}, // 331 rounds
				{2, t13, 993},  // 496 rounds and a T1
				{3, []string{"T1"}, 993},
				{4, []string{"T2"}, 993},
				{5, []string{"T2"}, 993},
			},
			Consumers: []Consumer{{1, t123}, {2, t13}, {3, t13}},
		},
	}
}

// FindPlan returns the scenario called name.
func FindPlan(name string) (Plan, error) {
	var names []string
	for _, plan := range Plans() {
		if plan.Name == name {
			return plan, nil
		}
		names = append(names, plan.Name)
	}
	return Plan{}, fmt.Errorf("unknown scenario %q: want %s", name, strings.Join(names, " or "))
}

// Topics returns the topics of all producers, sorted.
func (p Plan) Topics() []string {
	var topics []string
	for _, producer := range p.Producers {
		topics = append(topics, producer.Topics...)
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

// producersOf returns the producers of topic.
func (p Plan) producersOf(topic string) []Producer {
	return slices.DeleteFunc(slices.Clone(p.Producers), func(producer Producer) bool {
		return !slices.Contains(producer.Topics, topic)
	})
}

// Produced returns the number of lines that all producers send.
func (p Plan) Produced() int {
	n := 0
	for _, producer := range p.Producers {
		n += producer.Lines
	}
	return n
}

// Consumed returns the number of lines that consumer gets.
func (p Plan) Consumed(consumer Consumer) int {
	n := 0
	for _, producer := range p.Producers {
		for i := range producer.Lines {
			if slices.Contains(consumer.Topics, producer.Topics[i%len(producer.Topics)]) {
				n++
			}
		}
	}
	return n
}
