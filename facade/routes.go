package facade

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
)

// An api is one of the two APIs. It decides the form of failures.
type api int

const (
	apiNone    api = iota // probes, docs and unknown paths
	apiClassic            // HTTP 400 or 500 with "status":"failure"
	apiV1                 // problem details, with a status of their own for each code
)

// A handler does the work of one call and returns what to answer. It writes nothing itself.
type handler func(context.Context, *fiber.Ctx) (response, error)

// A route is one call of an API.
type route struct {
	method, path string
	api          api
	// topicInPath has the caller's rights to the topic in the path checked before the handler runs. Other handlers
	// check them, once they know the topic.
	topicInPath bool
	// mutates has everything that was stored flushed to disk before the answer leaves.
	mutates bool
	need    need
	// query lists the parameters that the call takes. The classic calls ignore all others, /v1 refuses them.
	query  []string
	handle handler
}

// checkQuery refuses a parameter that the call does not take: a misspelt up_to of a purge would remove everything.
func (r *route) checkQuery(c *fiber.Ctx) (err error) {
	args := c.Context().QueryArgs()
	if r.api == apiClassic || args.Len() == 0 {
		return nil
	}

	problem := "this call takes no parameters in the query"
	if len(r.query) > 0 {
		problem = "this call takes no such parameter, only " + strings.Join(r.query, ", ")
	}
	args.VisitAll(func(name, _ []byte) {
		if err == nil && !slices.Contains(r.query, string(name)) {
			field := strings.ToValidUTF8(fmt.Sprintf("%.100s", name), "\ufffd")
			err = &decode.FieldError{Field: field, Problem: problem}
		}
	})
	return err
}

// classicRoutes returns the classic API: seven calls whose paths, fields, texts and statuses existing clients rely on.
// A success is 200 with "status":"success", a refusal 400 with "status":"failure".
func (f *Facade) classicRoutes() []route {
	routes := []route{
		{method: fiber.MethodPost, path: "/topics", mutates: true, need: toCreate, handle: f.createTopic},
		{method: fiber.MethodGet, path: "/topics", need: anyScope, handle: f.listTopics},
		{method: fiber.MethodPost, path: "/consumer/register", mutates: true, need: toRegister, handle: f.registerConsumer},
		{method: fiber.MethodPost, path: "/producer/register", mutates: true, need: toRegister, handle: f.registerProducer},
		{method: fiber.MethodPost, path: "/producer/produce", mutates: true, need: toProduce, handle: f.produce},
		{method: fiber.MethodGet, path: "/consumer/consume", mutates: true, need: toConsume, handle: f.consume},
		{method: fiber.MethodGet, path: "/size", need: toConsume, handle: f.size},
	}
	for i := range routes {
		routes[i].api = apiClassic
	}
	return routes
}

const (
	topicsPath    = "/v1/topics"
	topicPath     = topicsPath + "/:topic"
	messagesPath  = topicPath + "/messages"
	consumersPath = topicPath + "/consumers"
	consumerPath  = consumersPath + "/:consumer"
)

// v1Routes returns the modern API. Its description is openapi/openapi.yaml.
func (f *Facade) v1Routes() []route {
	list := route{
		method: fiber.MethodGet, path: topicsPath, api: apiV1, need: anyScope,
		query: []string{"prefix", "after", "limit"}, handle: f.v1ListTopics,
	}
	onTopics := slices.Concat(f.topicRoutes(), f.messageRoutes(), f.consumerRoutes())
	for i := range onTopics {
		onTopics[i].api, onTopics[i].topicInPath = apiV1, true
	}
	return append(onTopics, list)
}

func (f *Facade) topicRoutes() []route {
	return []route{
		{method: fiber.MethodPut, path: topicPath, mutates: true, need: toCreate, handle: f.v1CreateTopic},
		{method: fiber.MethodGet, path: topicPath, need: anyScope, handle: f.v1DescribeTopic},
		{method: fiber.MethodPatch, path: topicPath, mutates: true, need: toAdmin, handle: f.v1ChangeTopic},
		{method: fiber.MethodDelete, path: topicPath, mutates: true, need: toAdmin, handle: f.v1DeleteTopic},
	}
}

func (f *Facade) messageRoutes() []route {
	return []route{
		{
			method: fiber.MethodPost, path: messagesPath, mutates: true, need: toProduce,
			query: []string{"raw", "atomic", "expected_last_sequence"}, handle: f.v1Produce,
		},
		{
			method: fiber.MethodGet, path: messagesPath, need: toConsume,
			query: []string{"from", "key", "limit", "max_bytes", "wait"}, handle: f.v1Browse,
		},
		{
			method: fiber.MethodDelete, path: messagesPath, mutates: true, need: toAdmin,
			query: []string{"up_to"}, handle: f.v1Purge,
		},
		{
			method: fiber.MethodGet, path: messagesPath + "/:sequence", need: toConsume,
			query: []string{"raw"}, handle: f.v1GetMessage,
		},
	}
}

func (f *Facade) consumerRoutes() []route {
	return []route{
		{method: fiber.MethodPost, path: consumersPath, mutates: true, need: toSubscribe, handle: f.v1CreateConsumer},
		{
			method: fiber.MethodGet, path: consumersPath, need: toManage,
			query: []string{"after", "limit"}, handle: f.v1ListConsumers,
		},
		{method: fiber.MethodGet, path: consumerPath, need: toManage, handle: f.v1DescribeConsumer},
		{method: fiber.MethodDelete, path: consumerPath, mutates: true, need: toControl, handle: f.v1DeleteConsumer},
		{
			method: fiber.MethodPost, path: consumerPath + "/fetch", mutates: true, need: toConsume,
			query: []string{"raw", "limit", "max_bytes", "wait"}, handle: f.v1Fetch,
		},
		{method: fiber.MethodGet, path: consumerPath + "/stream", need: toConsume, handle: f.v1Stream},
		{method: fiber.MethodGet, path: consumerPath + "/socket", need: toConsume, handle: f.v1Socket},
		{method: fiber.MethodPost, path: consumerPath + "/ack", mutates: true, need: toConsume, handle: f.v1Ack},
		{method: fiber.MethodPost, path: consumerPath + "/nack", mutates: true, need: toConsume, handle: f.v1Nack},
		{method: fiber.MethodPost, path: consumerPath + "/extend", mutates: true, need: toConsume, handle: f.v1Extend},
		{method: fiber.MethodPost, path: consumerPath + "/seek", mutates: true, need: toControl, handle: f.v1Seek},
		{method: fiber.MethodPost, path: consumerPath + "/pause", mutates: true, need: toControl, handle: f.v1Pause},
		{method: fiber.MethodPost, path: consumerPath + "/resume", mutates: true, need: toControl, handle: f.v1Resume},
	}
}
