package history

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"time"
)

// The kinds of operations. Most are calls of the API; the last four are not.
const (
	OpCreateTopic      = "create topic"      // POST /topics
	OpEnsureTopic      = "ensure topic"      // PUT /v1/topics/T
	OpDescribeTopic    = "describe topic"    // GET /v1/topics/T
	OpChangeTopic      = "change topic"      // PATCH /v1/topics/T
	OpDeleteTopic      = "delete topic"      // DELETE /v1/topics/T
	OpRegisterProducer = "register producer" // POST /producer/register
	OpRegisterConsumer = "register consumer" // POST /consumer/register
	OpCreateConsumer   = "create consumer"   // POST /v1/topics/T/consumers
	OpDescribeConsumer = "describe consumer" // GET /v1/topics/T/consumers/NAME
	OpProduce          = "produce"           // POST /producer/produce
	OpAppend           = "append"            // POST /v1/topics/T/messages, one or a batch
	OpConsume          = "consume"           // GET /consumer/consume
	OpFetch            = "fetch"             // POST /v1/topics/T/consumers/ID/fetch
	OpStream           = "stream"            // GET /v1/topics/T/consumers/ID/stream, one connection
	OpAck              = "ack"               // POST /v1/topics/T/consumers/ID/ack
	OpNack             = "nack"              // POST /v1/topics/T/consumers/ID/nack
	OpExtend           = "extend"            // POST /v1/topics/T/consumers/ID/extend
	OpSeek             = "seek"              // POST /v1/topics/T/consumers/ID/seek
	OpPause            = "pause"             // POST /v1/topics/T/consumers/ID/pause
	OpResume           = "resume"            // POST /v1/topics/T/consumers/ID/resume
	OpSize             = "size"              // GET /size
	OpPurge            = "purge"             // DELETE /v1/topics/T/messages
	OpBrowse           = "browse"            // GET /v1/topics/T/messages
	OpReadDead         = "read dead letters" // OpBrowse of the topic's dead-letter topic
	OpSocket           = "socket"            // GET /v1/topics/T/consumers/ID/socket, one connection
	OpGet              = "get"               // GET /v1/topics/T/messages/SEQUENCE
	OpProbe            = "probe"             // a call that must be refused with the code in Name

	OpScene = "scene" // the topic has the traffic of the scene in Name
	OpStuck = "stuck" // a worker gave up waiting for the goal in Name
	OpFault = "fault" // the fault in Name was made
	OpEnd   = "end"   // the history of the topic is complete
)

// The outcomes of operations.
const (
	OK          = "ok"
	Refused     = "refused"     // it had no effect
	Unknown     = "unknown"     // it may have had an effect, or may have it later
	Unreachable = "unreachable" // it was not sent; such operations are only counted
)

// Never is a time after all times of a history.
const Never = math.MaxInt64

// Op is one operation: what was asked, when, and what the answer was. Times are
// nanoseconds since the run began, on a clock that does not jump.
type Op struct {
	N       int64  `json:"n"` // number of the operation, from 1
	Worker  string `json:"worker"`
	Facade  int    `json:"facade,omitempty"` // index of the broker that was called
	Topic   string `json:"topic,omitempty"`
	Kind    string `json:"kind"`
	Call    int64  `json:"call"`   // time before the request was sent
	Return  int64  `json:"return"` // time after the answer was read
	Outcome string `json:"outcome"`
	Status  int    `json:"status,omitempty"` // HTTP status; 0 if there was no answer
	Code    string `json:"code,omitempty"`   // error code

	ID         int64         `json:"id,omitempty"`      // of a producer or consumer
	Name       string        `json:"name,omitempty"`    // of a consumer; see also OpProbe, OpStuck and OpFault
	Mode       string        `json:"mode,omitempty"`    // of a consumer: auto, lease or stream
	Lease      time.Duration `json:"lease,omitempty"`   // how long a lease of the consumer lasts
	First      bool          `json:"first,omitempty"`   // the consumer starts at the first message
	Created    bool          `json:"made,omitempty"`    // status 201: it did not exist before
	Data       []string      `json:"data,omitempty"`    // names of the messages that were sent
	Key        string        `json:"key,omitempty"`     // idempotency key
	MessageKey string        `json:"of,omitempty"`      // key of the messages that were sent, or that were asked for
	Delay      time.Duration `json:"delay,omitempty"`   // of the messages that were sent; how long a pause lasts
	TTL        time.Duration `json:"ttl,omitempty"`     // of the messages that were sent
	Expected   *uint64       `json:"expect,omitempty"`  // the last sequence that the call demands
	Last       *uint64       `json:"last,omitempty"`    // the last sequence that a refusal names
	Settings   *Settings     `json:"set,omitempty"`     // that a topic is to have, or has
	State      *State        `json:"state,omitempty"`   // of a topic
	Atomic     bool          `json:"atomic,omitempty"`  // the batch is stored as a whole or not at all
	From       uint64        `json:"from,omitempty"`    // sequence to read from, or to seek to
	UpTo       uint64        `json:"up_to,omitempty"`   // last sequence to purge; 0 purges all
	Limit      int           `json:"limit,omitempty"`   // most messages that the call asked for
	Tokens     []string      `json:"tokens,omitempty"`  // of leases
	LostTokens []string      `json:"lost,omitempty"`    // those of Tokens whose lease had ended
	Size       int64         `json:"size,omitempty"`    // of a consumer: messages that are left
	Dropped    int64         `json:"dropped,omitempty"` // messages that a consumer has missed
	Final      bool          `json:"final,omitempty"`   // part of the replay that ends a scene; OpEnd: of a round
	Got        []Message     `json:"got,omitempty"`     // messages of the answer
	Receipts   []Receipt     `json:"receipt,omitempty"` // one per message that was sent
}

// Message is what a consumer or reader got.
type Message struct {
	Sequence   uint64 `json:"sequence,omitempty"`
	Data       string `json:"data"` // name of the message, see [NameOf]
	Token      string `json:"token,omitempty"`
	Deliveries int    `json:"deliveries,omitempty"`
	Key        string `json:"key,omitempty"`
	At         int64  `json:"at,omitempty"` // time at which a stream or socket delivered it

	Headers map[string]string `json:"headers,omitempty"`
}

// Settings are some of the settings of a topic.
type Settings struct {
	MaxMessages     int64  `json:"max_messages"`
	MaxMessageBytes int64  `json:"max_message_bytes"`
	WhenFull        string `json:"when_full"`
}

// State is which messages a topic has.
type State struct {
	Messages uint64 `json:"messages"`
	First    uint64 `json:"first_sequence"` // one more than Last without any message
	Last     uint64 `json:"last_sequence"`  // of the newest message that was ever stored
}

// Receipt is what the broker says about one appended message.
type Receipt struct {
	Sequence  uint64 `json:"sequence,omitempty"`
	Duplicate bool   `json:"duplicate,omitempty"`
	Code      string `json:"code,omitempty"` // error code, if the message was not stored
}

// TurnedAway reports whether the broker refused the operation before it did
// anything, and may accept it later.
func (op *Op) TurnedAway() bool {
	switch op.Code {
	case "overloaded", "rate_limited", "quota_exceeded", "storage_full", "not_stored", "topic_busy":
		return true
	}
	return op.Status == http.StatusTooManyRequests
}

// Write writes op as one line of JSON.
func Write(w io.Writer, op *Op) error {
	line, err := json.Marshal(op)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// The names of faults.
const (
	FaultKill    = "kill"    // SIGKILL, and a start a moment later
	FaultRestart = "restart" // SIGTERM, and a start as soon as the broker has ended
	FaultPause   = "pause"   // SIGSTOP for longer than the clients wait, then SIGCONT
	FaultDisk    = "disk"    // the disk is full until messages are refused, and a while longer
	FaultFiles   = "files"   // idle clients take all free file descriptors of the broker for a while
	FaultClients = "clients" // clients hang up before the answer
)

// AllFaults lists the names of all faults.
var AllFaults = []string{FaultKill, FaultRestart, FaultPause, FaultDisk, FaultFiles, FaultClients}
