package facade

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
)

// route is one call. Its handler returns what is to be answered, or an error.
type route struct {
	method, path string
	need         need
	query        string // the parameters that it takes, parted by spaces; anyQuery: others are passed over
	handle       func(context.Context, *fiber.Ctx) (any, error)
}

// anyQuery is for the classic calls, whose clients may send what nobody reads.
const anyQuery = "*"

// checkQuery refuses a parameter that the call does not take: who misspells the
// up_to of a purge would lose everything.
func (r *route) checkQuery(c *fiber.Ctx) (err error) {
	args := c.Context().QueryArgs()
	if r.query == anyQuery || args.Len() == 0 {
		return nil
	}
	names := strings.Fields(r.query)
	args.VisitAll(func(name, _ []byte) {
		if err == nil && !slices.Contains(names, string(name)) {
			problem := "this call takes no parameters in the query"
			if len(names) > 0 {
				problem = "this call takes no such parameter, only " + strings.Join(names, ", ")
			}
			err = &decode.FieldError{Field: strings.ToValidUTF8(fmt.Sprintf("%.100s", name), "\ufffd"), Problem: problem}
		}
	})
	return err
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
		{fiber.MethodPost, "/topics", toCreate, anyQuery, f.createTopic},
		{fiber.MethodGet, "/topics", anyScope, anyQuery, f.listTopics},
		{fiber.MethodPost, "/consumer/register", toRegister, anyQuery, f.registerConsumer},
		{fiber.MethodPost, "/producer/register", toRegister, anyQuery, f.registerProducer},
		{fiber.MethodPost, "/producer/produce", toProduce, anyQuery, f.produce},
		{fiber.MethodGet, consumePath, toConsume, anyQuery, f.consume},
		{fiber.MethodGet, "/size", toConsume, anyQuery, f.size},
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
		{fiber.MethodGet, topics, anyScope, "prefix after limit", f.v1ListTopics},
		{fiber.MethodPut, topic, toCreate, "", f.v1CreateTopic},
		{fiber.MethodGet, topic, anyScope, "", f.v1DescribeTopic},
		{fiber.MethodPatch, topic, toAdmin, "", f.v1ChangeTopic},
		{fiber.MethodDelete, topic, toAdmin, "", f.v1DeleteTopic},

		{fiber.MethodPost, messages, toProduce, "raw atomic expected_last_sequence", f.v1Produce},
		{fiber.MethodGet, messages, toConsume, "from key limit max_bytes wait", f.v1Browse},
		{fiber.MethodDelete, messages, toAdmin, "up_to", f.v1Purge},
		{fiber.MethodGet, messages + "/:sequence", toConsume, "raw", f.v1GetMessage},

		{fiber.MethodPost, consumers, toSubscribe, "", f.v1CreateConsumer},
		{fiber.MethodGet, consumers, toManage, "after limit", f.v1ListConsumers},
		{fiber.MethodGet, consumer, toManage, "", f.v1DescribeConsumer},
		{fiber.MethodDelete, consumer, toControl, "", f.v1DeleteConsumer},
		{fiber.MethodPost, consumer + "/fetch", toConsume, "raw limit max_bytes wait", f.v1Fetch},
		{fiber.MethodGet, consumer + "/stream", toConsume, "", f.v1Stream},
		{fiber.MethodGet, consumer + "/socket", toConsume, "", f.v1Socket},
		{fiber.MethodPost, consumer + "/ack", toConsume, "", f.v1Settle(opAck)},
		{fiber.MethodPost, consumer + "/nack", toConsume, "", f.v1Settle(opNack)},
		{fiber.MethodPost, consumer + "/extend", toConsume, "", f.v1Settle(opExtend)},
		{fiber.MethodPost, consumer + "/seek", toControl, "", f.v1Seek},
		{fiber.MethodPost, consumer + "/pause", toControl, "", f.v1Pause},
		{fiber.MethodPost, consumer + "/resume", toControl, "", f.v1Resume},
	}
}
