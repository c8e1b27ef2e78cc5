package facade

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
	"dq/facade/service"
	"dq/jetstream"
)

func (f *Facade) createTopic(ctx context.Context, c *fiber.Ctx) (response, error) {
	var in struct {
		Topic *string `json:"topic_name"`
	}
	if err := decode.JSON(c.BodyRaw(), &in); err != nil {
		return nil, err
	}
	topic, err := decode.Required("topic_name", in.Topic)
	if err != nil {
		return nil, err
	}
	if err := permit(c, topic, toCreate); err != nil {
		return nil, err
	}

	release, err := f.reserveTopic(ctx, c, topic)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := f.service.CreateTopic(ctx, topic); err != nil {
		return nil, err
	}
	return &classicText{message: []byte("Topic:" + topic + " created successfully")}, nil
}

// topicNames is the answer to the list of topics. Its message is an array, unlike that of all other classic calls.
type topicNames struct {
	Status  string   `json:"status"`
	Message []string `json:"message"`
}

func (f *Facade) listTopics(ctx context.Context, c *fiber.Ctx) (response, error) {
	names, err := f.service.TopicsByAge(ctx, callerOf(c).principal.Sees)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, &NoTopicsError{}
	}
	return reply(fiber.StatusOK, topicNames{Status: "success", Message: names}), nil
}

// registeredConsumer is the answer to the registration of a consumer.
type registeredConsumer struct {
	Status     string `json:"status"`
	ConsumerID int64  `json:"consumer_id"`
}

func (f *Facade) registerConsumer(ctx context.Context, c *fiber.Ctx) (response, error) {
	topic, err := topicField(c)
	if err != nil {
		return nil, err
	}
	if err := permit(c, topic, toConsume); err != nil {
		return nil, err
	}

	release, err := f.reserveConsumer(ctx, c)
	if err != nil {
		return nil, err
	}
	defer release()
	id, err := f.service.RegisterConsumer(ctx, topic)
	if err != nil {
		return nil, err
	}
	return reply(fiber.StatusOK, registeredConsumer{Status: "success", ConsumerID: id}), nil
}

// registeredProducer is the answer to the registration of a producer.
type registeredProducer struct {
	Status     string `json:"status"`
	ProducerID int64  `json:"producer_id"`
}

func (f *Facade) registerProducer(ctx context.Context, c *fiber.Ctx) (response, error) {
	topic, err := topicField(c)
	if err != nil {
		return nil, err
	}
	if err := permit(c, topic, toProduce); err != nil {
		return nil, err
	}
	if _, err := f.mayCreate(ctx, c, topic); err != nil {
		return nil, err
	}

	release, err := f.reserveTopic(ctx, c, topic) // registration creates the topic
	if err != nil {
		return nil, err
	}
	defer release()
	id, err := f.service.RegisterProducer(ctx, topic)
	if err != nil {
		return nil, err
	}
	return reply(fiber.StatusOK, registeredProducer{Status: "success", ProducerID: id}), nil
}

// topicField decodes a body whose one field is the topic.
func topicField(c *fiber.Ctx) (string, error) {
	var in struct {
		Topic *string `json:"topic"`
	}
	if err := decode.JSON(c.BodyRaw(), &in); err != nil {
		return "", err
	}
	return decode.Required("topic", in.Topic)
}

func (f *Facade) produce(ctx context.Context, c *fiber.Ctx) (response, error) {
	in, err := decodeProduce(c.BodyRaw())
	if err != nil {
		return nil, err
	}
	if err := permit(c, in.topic, toProduce); err != nil {
		return nil, err
	}
	if err := f.service.Produce(ctx, in.topic, in.producer, in.message); err != nil {
		return nil, err
	}
	return classicSuccess{}, nil
}

// produceRequest is the decoded body of produce.
type produceRequest struct {
	topic    string
	producer service.ID
	message  []byte
}

// decodeProduce decodes the body of produce. The result does not share memory with body.
func decodeProduce(body []byte) (out produceRequest, err error) {
	fields := [3]decode.FastField{{Name: "topic"}, {Name: "producer_id", Integer: true}, {Name: "message"}}
	if decode.FastJSON(body, fields[:]) {
		producer, err := service.ParseID(string(fields[1].Text))
		if err != nil {
			return out, &decode.FieldError{Field: "producer_id", Problem: err.Error()}
		}
		return produceRequest{string(fields[0].Text), producer, bytes.Clone(fields[2].Text)}, nil
	}

	var in struct {
		Topic      *string     `json:"topic"`
		ProducerID *service.ID `json:"producer_id"`
		Message    *string     `json:"message"`
	}
	if err := decode.JSON(body, &in); err != nil {
		return out, err
	}
	if out.topic, err = decode.Required("topic", in.Topic); err != nil {
		return out, err
	}
	if out.producer, err = decode.Required("producer_id", in.ProducerID); err != nil {
		return out, err
	}
	text, err := decode.Required("message", in.Message)
	out.message = []byte(text)
	return out, err
}

func (f *Facade) consume(ctx context.Context, c *fiber.Ctx) (response, error) {
	in, err := decodeReader(c)
	if err != nil {
		return nil, err
	}
	if err := permit(c, in.topic, toConsume); err != nil {
		return nil, err
	}

	hold := f.hold()
	if err := hold.Take(f.service.Topics.Expect(ctx, in.topic, 1, 1)); err != nil {
		return nil, err
	}
	message, err := f.service.Consume(ctx, in.topic, in.consumer)
	if err != nil {
		hold.Give()
		return nil, err
	}
	return &classicText{message.Data, hold}, nil
}

// topicSize is the answer to size: the number of messages that the consumer has not consumed yet.
type topicSize struct {
	Status string `json:"status"`
	Size   uint64 `json:"size"`
}

func (f *Facade) size(ctx context.Context, c *fiber.Ctx) (response, error) {
	in, err := decodeReader(c)
	if err != nil {
		return nil, err
	}
	if err := permit(c, in.topic, toConsume); err != nil {
		return nil, err
	}

	size, err := f.service.Size(ctx, in.topic, in.consumer)
	if err != nil {
		return nil, err
	}
	return reply(fiber.StatusOK, topicSize{Status: "success", Size: size}), nil
}

// reader is the consumer that a client of consume or size names.
type reader struct {
	topic    string
	consumer service.ID
}

// decodeReader decodes the two parameters of consume and size. It takes a parameter that the query lacks from a JSON
// body.
func decodeReader(c *fiber.Ctx) (out reader, err error) {
	queryTopic, err := decode.QueryParameter(c, "topic")
	if err != nil {
		return out, err
	}
	queryID, err := decode.QueryParameter(c, "consumer_id")
	if err != nil {
		return out, err
	}

	var in struct {
		Topic      *string     `json:"topic"`
		ConsumerID *service.ID `json:"consumer_id"`
	}
	if body := c.BodyRaw(); len(body) > 0 && (queryTopic == nil || queryID == nil) {
		if err := decode.JSON(body, &in); err != nil {
			return out, err
		}
	}

	// The query wins over the body.
	if queryTopic != nil {
		in.Topic = queryTopic
	}
	if queryID != nil {
		id, err := service.ParseID(*queryID)
		if err != nil {
			return out, &decode.FieldError{Field: "consumer_id", Problem: err.Error()}
		}
		in.ConsumerID = &id
	}

	if out.topic, err = decode.Required("topic", in.Topic); err != nil {
		return out, err
	}
	out.consumer, err = decode.Required("consumer_id", in.ConsumerID)
	return out, err
}

// NoTopicsError says that the list of topics is empty.
type NoTopicsError struct{}

func (*NoTopicsError) Error() string { return "No Topic found" } // clients compare the text

// classicExists returns the text of a [*jetstream.ExistsError]. Clients compare it, so its grammar stays.
func classicExists(err error) string {
	var e *jetstream.ExistsError
	errors.As(err, &e)
	return fmt.Sprintf("Topic:%s already exist", e.Topic)
}

// classicEmpty returns the text of a [*jetstream.EmptyError]. Clients compare it, so its typo stays.
func classicEmpty(err error) string {
	var e *jetstream.EmptyError
	errors.As(err, &e)
	return fmt.Sprintf("Empty logs for Comsumer:%d for Topic:%s", e.Consumer, e.Topic)
}
