package facade

import (
	"context"

	"github.com/gofiber/fiber/v2"
)

// route is one call. Its handler returns what is to be answered, or an error.
type route struct {
	method, path string
	handle       func(context.Context, *fiber.Ctx) (any, error)
}

// changes reports whether the call changes something that is stored.
func (r *route) changes() bool { return r.method != fiber.MethodGet || r.path == consumePath }

// consumePath is that of the one GET that changes something.
const consumePath = "/consumer/consume"

// The classic API: seven calls whose paths, fields, texts and statuses existing
// clients rely on. A success is 200 with "status":"success", a refusal 400 with
// "status":"failure".
func (f *Facade) classicRoutes() []route {
	return []route{
		{fiber.MethodPost, "/topics", f.createTopic},
		{fiber.MethodGet, "/topics", f.listTopics},
		{fiber.MethodPost, "/consumer/register", f.registerConsumer},
		{fiber.MethodPost, "/producer/register", f.registerProducer},
		{fiber.MethodPost, "/producer/produce", f.produce},
		{fiber.MethodGet, consumePath, f.consume},
		{fiber.MethodGet, "/size", f.size},
	}
}

// The modern API. Its description is openapi/openapi.yaml.
func (f *Facade) v1Routes() []route {
	const (
		topics    = "/v1/topics"
		topic     = topics + "/:topic"
		messages  = topic + "/messages"
		consumers = topic + "/consumers"
		consumer  = consumers + "/:consumer"
	)
	return []route{
		{fiber.MethodGet, topics, f.v1ListTopics},
		{fiber.MethodPut, topic, f.v1CreateTopic},
		{fiber.MethodGet, topic, f.v1DescribeTopic},
		{fiber.MethodPatch, topic, f.v1ChangeTopic},
		{fiber.MethodDelete, topic, f.v1DeleteTopic},

		{fiber.MethodPost, messages, f.v1Produce},
		{fiber.MethodGet, messages, f.v1Browse},
		{fiber.MethodDelete, messages, f.v1Purge},
		{fiber.MethodGet, messages + "/:sequence", f.v1GetMessage},

		{fiber.MethodPost, consumers, f.v1CreateConsumer},
		{fiber.MethodGet, consumers, f.v1ListConsumers},
		{fiber.MethodGet, consumer, f.v1DescribeConsumer},
		{fiber.MethodDelete, consumer, f.v1DeleteConsumer},
		{fiber.MethodPost, consumer + "/fetch", f.v1Fetch},
		{fiber.MethodGet, consumer + "/stream", f.v1Stream},
		{fiber.MethodGet, consumer + "/socket", f.v1Socket},
		{fiber.MethodPost, consumer + "/ack", f.v1Settle(opAck)},
		{fiber.MethodPost, consumer + "/nack", f.v1Settle(opNack)},
		{fiber.MethodPost, consumer + "/extend", f.v1Settle(opExtend)},
		{fiber.MethodPost, consumer + "/seek", f.v1Seek},
		{fiber.MethodPost, consumer + "/pause", f.v1Pause},
		{fiber.MethodPost, consumer + "/resume", f.v1Resume},
	}
}
