package facade

import (
	"bytes"
	"context"

	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
	"dq/facade/service"
)

func (f *Facade) createTopic(ctx context.Context, c *fiber.Ctx) (any, error) {
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
	err = f.createWithinQuota(ctx, c, topic, func(ctx context.Context) error { return f.queue.CreateTopic(ctx, topic) })
	if err != nil {
		return nil, err
	}
	return success{Message: "Topic:" + topic + " created successfully"}, nil
}

func (f *Facade) listTopics(ctx context.Context, c *fiber.Ctx) (any, error) {
	topics, err := f.queue.Topics.List(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, topic := range topics {
		if callerOf(c).principal.Sees(topic.Name) {
			names = append(names, topic.Name)
		}
	}
	if len(names) == 0 {
		return nil, &NoTopicsError{}
	}
	return success{Message: names}, nil
}

func (f *Facade) registerConsumer(ctx context.Context, c *fiber.Ctx) (any, error) {
	topic, err := topicField(c)
	if err != nil {
		return nil, err
	}
	if err := permit(c, topic, toConsume); err != nil {
		return nil, err
	}
	var id int64
	err = f.registerWithinQuota(ctx, c, func(ctx context.Context) (err error) {
		id, err = f.queue.RegisterConsumer(ctx, topic)
		return err
	})
	return success{ConsumerID: &id}, err
}

func (f *Facade) registerProducer(ctx context.Context, c *fiber.Ctx) (any, error) {
	topic, err := topicField(c)
	if err != nil {
		return nil, err
	}
	if err := permit(c, topic, toProduce); err != nil {
		return nil, err
	}
	if _, err := f.mayMake(ctx, c, topic); err != nil {
		return nil, err
	}
	var id int64
	err = f.createWithinQuota(ctx, c, topic, func(ctx context.Context) (err error) {
		id, err = f.queue.RegisterProducer(ctx, topic)
		return err
	})
	return success{ProducerID: &id}, err
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

func (f *Facade) produce(ctx context.Context, c *fiber.Ctx) (any, error) {
	topic, producer, message, err := produceParameters(c.BodyRaw())
	if err != nil {
		return nil, err
	}
	if err := permit(c, topic, toProduce); err != nil {
		return nil, err
	}
	return success{}, f.queue.Produce(ctx, topic, producer, message)
}

// produceParameters reads the body of produce. What it returns is not part of
// body.
func produceParameters(body []byte) (topic string, producer service.ID, message []byte, err error) {
	flat := [3]decode.FastField{{Name: "topic"}, {Name: "producer_id", Integer: true}, {Name: "message"}}
	if decode.FastJSON(body, flat[:]) {
		if producer, err = service.ParseID(string(flat[1].Text)); err != nil {
			return "", service.ID{}, nil, &decode.FieldError{Field: "producer_id", Problem: err.Error()}
		}
		return string(flat[0].Text), producer, bytes.Clone(flat[2].Text), nil
	}
	var in struct {
		Topic      *string     `json:"topic"`
		ProducerID *service.ID `json:"producer_id"`
		Message    *string     `json:"message"`
	}
	if err := decode.JSON(body, &in); err != nil {
		return "", service.ID{}, nil, err
	}
	if topic, err = decode.Required("topic", in.Topic); err != nil {
		return "", service.ID{}, nil, err
	}
	if producer, err = decode.Required("producer_id", in.ProducerID); err != nil {
		return "", service.ID{}, nil, err
	}
	text, err := decode.Required("message", in.Message)
	return topic, producer, []byte(text), err
}

func (f *Facade) consume(ctx context.Context, c *fiber.Ctx) (any, error) {
	topic, consumer, err := consumerParameters(c)
	if err != nil {
		return nil, err
	}
	if err := permit(c, topic, toConsume); err != nil {
		return nil, err
	}
	message, err := f.queue.Consume(ctx, topic, consumer)
	return success{Message: string(message.Data)}, err
}

func (f *Facade) size(ctx context.Context, c *fiber.Ctx) (any, error) {
	topic, consumer, err := consumerParameters(c)
	if err != nil {
		return nil, err
	}
	if err := permit(c, topic, toConsume); err != nil {
		return nil, err
	}
	size, err := f.queue.Size(ctx, topic, consumer)
	return success{Size: &size}, err
}

// consumerParameters reads the two parameters of consume and size from the
// query, or from a JSON body where the query has not got them.
func consumerParameters(c *fiber.Ctx) (topic string, consumer service.ID, err error) {
	var in struct {
		Topic      *string     `json:"topic"`
		ConsumerID *service.ID `json:"consumer_id"`
	}
	queryTopic, err := decode.QueryParameter(c, "topic")
	if err != nil {
		return "", service.ID{}, err
	}
	queryID, err := decode.QueryParameter(c, "consumer_id")
	if err != nil {
		return "", service.ID{}, err
	}
	if body := c.BodyRaw(); len(body) > 0 && (queryTopic == nil || queryID == nil) {
		if err := decode.JSON(body, &in); err != nil {
			return "", service.ID{}, err
		}
	}
	if queryTopic != nil {
		in.Topic = queryTopic
	}
	if queryID != nil {
		id, err := service.ParseID(*queryID)
		if err != nil {
			return "", service.ID{}, &decode.FieldError{Field: "consumer_id", Problem: err.Error()}
		}
		in.ConsumerID = &id
	}
	if topic, err = decode.Required("topic", in.Topic); err != nil {
		return "", service.ID{}, err
	}
	consumer, err = decode.Required("consumer_id", in.ConsumerID)
	return topic, consumer, err
}

// NoTopicsError says that there is no topic to list.
type NoTopicsError struct{}

func (*NoTopicsError) Error() string { return "No Topic found" }
