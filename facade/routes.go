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
	// topicInPath says that the caller's rights to the topic in the path are checked before the handler runs. Without
	// it, the handler checks them itself, once it knows the topic.
	topicInPath bool
	// endless is a stream or socket, which goes on until somebody hangs up.
	endless bool
	// mutates says that the call changes something: everything stored is flushed to disk before the answer is sent.
	mutates bool
	need    need
	// query lists the parameters that the call takes. The classic calls ignore all others, /v1 refuses them.
	query  []string
	handle handler
}

// checkQuery refuses a parameter that the call does not take: a misspelt up_to of a purge would remove everything.
func (r *route) checkQuery(c *fiber.Ctx) error {
	args := c.Context().QueryArgs()
	if r.api == apiClassic || args.Len() == 0 {
		return nil
	}

	problem := "this call takes no parameters in the query"
	if len(r.query) > 0 {
		problem = "this call takes no such parameter, only " + strings.Join(r.query, ", ")
	}
	seen := make(map[string]bool, args.Len())
	for name := range args.All() {
		field := strings.ToValidUTF8(fmt.Sprintf("%.100s", name), "\ufffd")
		if !slices.Contains(r.query, string(name)) {
			return &decode.FieldError{Field: field, Problem: problem}
		}
		if seen[field] {
			return &decode.FieldError{Field: field, Problem: "it is given more than once: give it once"}
		}
		seen[field] = true
	}
	return nil
}

// classicRoutes returns the classic API: seven calls whose paths, fields, texts and statuses existing clients rely on.
// A success is 200 with "status":"success", a refusal 400 with "status":"failure".
func (f *Facade) classicRoutes() []route {
	const (
		get  = fiber.MethodGet
		post = fiber.MethodPost
	)
	routes := []route{
		{method: post, path: "/topics", mutates: true, need: toCreate, handle: f.createTopic},
		{method: get, path: "/topics", need: anyScope, handle: f.listTopics},
		{method: post, path: "/consumer/register", mutates: true, need: toRegister, handle: f.registerConsumer},
		{method: post, path: "/producer/register", mutates: true, need: toRegister, handle: f.registerProducer},
		{method: post, path: "/producer/produce", mutates: true, need: toProduce, handle: f.produce},
		{method: get, path: "/consumer/consume", mutates: true, need: toConsume, handle: f.consume},
		{method: get, path: "/size", need: toConsume, handle: f.size},
	}

	for i := range routes {
		routes[i].api = apiClassic
	}
	return routes
}

// v1Routes returns the modern API. Its description is openapi/openapi.yaml.
func (f *Facade) v1Routes() []route {
	query := []string{"prefix", "after", "limit"}
	list := route{method: fiber.MethodGet, path: topicsPath, need: anyScope, query: query, handle: f.v1ListTopics}

	routes := slices.Concat(f.topicRoutes(), f.messageRoutes(), f.consumerRoutes(), f.workRoutes())
	for i := range routes {
		routes[i].topicInPath = true
	}
	routes = append(routes, list)
	for i := range routes {
		routes[i].api = apiV1
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

// topicRoutes returns the calls on one topic.
func (f *Facade) topicRoutes() []route {
	return []route{
		{method: fiber.MethodPut, path: topicPath, mutates: true, need: toCreate, handle: f.v1CreateTopic},
		{method: fiber.MethodGet, path: topicPath, need: anyScope, handle: f.v1DescribeTopic},
		{method: fiber.MethodPatch, path: topicPath, mutates: true, need: toAdmin, handle: f.v1ChangeTopic},
		{method: fiber.MethodDelete, path: topicPath, mutates: true, need: toAdmin, handle: f.v1DeleteTopic},
	}
}

// messageRoutes returns the calls on the messages of a topic.
func (f *Facade) messageRoutes() []route {
	const path, one = messagesPath, messagesPath + "/:sequence"
	produce := []string{"raw", "atomic", "expected_last_sequence"}
	browse := []string{"from", "key", "limit", "max_bytes", "wait"}
	purge := []string{"up_to"}
	get := []string{"raw"}

	return []route{
		{method: fiber.MethodPost, path: path, mutates: true, need: toProduce, query: produce, handle: f.v1Produce},
		{method: fiber.MethodGet, path: path, need: toConsume, query: browse, handle: f.v1Browse},
		{method: fiber.MethodDelete, path: path, mutates: true, need: toAdmin, query: purge, handle: f.v1Purge},
		{method: fiber.MethodGet, path: one, need: toConsume, query: get, handle: f.v1GetMessage},
	}
}

// consumerRoutes returns the calls that create and control consumers.
func (f *Facade) consumerRoutes() []route {
	const all, one = consumersPath, consumerPath
	list := []string{"after", "limit"}

	return []route{
		{method: fiber.MethodPost, path: all, mutates: true, need: toSubscribe, handle: f.v1CreateConsumer},
		{method: fiber.MethodGet, path: all, need: toManage, query: list, handle: f.v1ListConsumers},
		{method: fiber.MethodGet, path: one, need: toManage, handle: f.v1DescribeConsumer},
		{method: fiber.MethodDelete, path: one, mutates: true, need: toControl, handle: f.v1DeleteConsumer},
		{method: fiber.MethodPost, path: one + "/seek", mutates: true, need: toControl, handle: f.v1Seek},
		{method: fiber.MethodPost, path: one + "/pause", mutates: true, need: toControl, handle: f.v1Pause},
		{method: fiber.MethodPost, path: one + "/resume", mutates: true, need: toControl, handle: f.v1Resume},
	}
}

// workRoutes returns the calls of workers, which fetch messages of a consumer and acknowledge them.
func (f *Facade) workRoutes() []route {
	const one, fetch = consumerPath, consumerPath + "/fetch"
	query := []string{"raw", "limit", "max_bytes", "wait"}

	return []route{
		{method: fiber.MethodPost, path: fetch, mutates: true, need: toConsume, query: query, handle: f.v1Fetch},
		{method: fiber.MethodGet, path: one + "/stream", endless: true, need: toConsume, handle: f.v1Stream},
		{method: fiber.MethodGet, path: one + "/socket", endless: true, need: toConsume, handle: f.v1Socket},
		{method: fiber.MethodPost, path: one + "/ack", mutates: true, need: toConsume, handle: f.v1Ack},
		{method: fiber.MethodPost, path: one + "/nack", mutates: true, need: toConsume, handle: f.v1Nack},
		{method: fiber.MethodPost, path: one + "/extend", mutates: true, need: toConsume, handle: f.v1Extend},
	}
}
