package service

import "fmt"

// ConsumerNotRegisteredError is a consumer id that was given out for another topic.
type ConsumerNotRegisteredError struct {
	Consumer   string // the id as the client wrote it
	Topic      string // the topic that the client named
	OtherTopic string // the topic of the consumer, which not every client may see
}

func (e *ConsumerNotRegisteredError) Error() string {
	return fmt.Sprintf("Consumer:%s is not registered with Topic:%s", e.Consumer, e.Topic)
}

// ProducerNotRegisteredError is a producer id that was given out for another topic.
type ProducerNotRegisteredError struct {
	Producer   string // the id as the client wrote it
	Topic      string // the topic that the client named
	OtherTopic string // the topic of the producer, which not every client may see
}

func (e *ProducerNotRegisteredError) Error() string {
	return fmt.Sprintf("Producer:%s is not registered with Topic:%s", e.Producer, e.Topic)
}

// OtherSettingsError is a request to create a topic or consumer that exists with
// other settings.
type OtherSettingsError struct {
	What   string // such as "Topic:T"
	Remedy string // what the client can do
}

func (e *OtherSettingsError) Error() string {
	return fmt.Sprintf("%s exists with other settings: %s", e.What, e.Remedy)
}

// ItemError is an error in one item of a batch.
type ItemError struct {
	What  string // "message" or "line"
	Index int    // from 0
	Err   error
}

func (e *ItemError) Error() string { return fmt.Sprintf("%s %d: %v", e.What, e.Index+1, e.Err) }

func (e *ItemError) Unwrap() error { return e.Err }
