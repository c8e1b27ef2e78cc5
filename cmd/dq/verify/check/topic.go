package check

import (
	"slices"

	"dq/cmd/dq/verify/history"
)

// topicHistory is the complete history of a topic, sorted by what it is about.
type topicHistory struct {
	*Findings
	topic     string
	scene     string // which traffic it has; "" for all others
	ops       []*history.Op
	log       []entry        // the messages of the topic, as the replay at the end read them
	index     map[string]int // of each message in log
	sends     map[string]*send
	consumers map[int64]*consumer
	dead      map[string]deadLetter // by the names of the messages
	replay    *history.Op           // the first call of the replay; nil if the replay is not complete
	complete  bool                  // the replay reached the end of the topic
}

// entry is a message in the topic.
type entry struct {
	sequence uint64
	data     string
	send     *send
	call     int64       // it was stored after that time
	stored   int64       // and before that: it was answered with success, or somebody saw it
	proof    *history.Op // the operation that shows it was stored
}

// send is a message that was sent, once or several times.
type send struct {
	ops       []*history.Op
	call      int64       // of the first time; of a delayed message, its time
	succeeded int64       // first return with success; [history.Never] without any
	success   *history.Op // the operation that returned then
	refused   bool        // it was refused each time
	delayed   bool        // it was to be stored later, each time
	stored    *history.Op // the first answer that says it was stored by then
}

// event is something that took effect between call and ret.
type event struct {
	index     int // of the message in the log
	op        *history.Op
	call, ret int64
}

// delivery is a message that a consumer got.
type delivery struct {
	event
	token string
	count int // which delivery of the message it is, from 1; 0 in mode auto
}

// consumer is what is known of a consumer.
type consumer struct {
	id    int64
	mode  string
	lease int64  // how long a lease lasts
	first bool   // it starts at the first message
	key   string // of the messages that it gets; "" for all

	maxDeliveries int // 0 for no limit

	created    *history.Op // the first call that was answered
	call, ret  int64       // it was created between them
	start      int         // index in the log from which on it must get everything
	deliveries []delivery  // by index, then count, then call
	unanswered []*history.Op
	empty      []*history.Op // answers that nothing is left
	sizes      []*history.Op
	receives   []*history.Op // calls that asked for messages
	leaseCalls []*history.Op // ack, nack, extend
	seeks      []*history.Op
	pauses     []*history.Op // pause, resume
}

// Topic checks the complete history of one topic. When the topic was not read to
// its end, only the answers and the names are checked.
func Topic(topic string, ops []*history.Op) *Findings {
	h := &topicHistory{
		Findings:  NewFindings(),
		topic:     topic,
		ops:       ops,
		index:     make(map[string]int),
		sends:     make(map[string]*send),
		consumers: make(map[int64]*consumer),
		dead:      make(map[string]deadLetter),
	}
	for _, op := range ops {
		if op.Kind == history.OpScene {
			h.scene = op.Name
		}
	}
	h.checkAnswers()
	h.checkNames()
	h.checkOldMessages()

	h.sortOps()
	if check := sceneChecks[h.scene]; check != nil {
		check(h)
	}
	if h.replay == nil {
		return h.Findings
	}

	h.checkLog()
	h.checkBatches()
	h.checkReceipts()
	h.checkDelayed()
	h.checkReads()
	for _, c := range h.consumers {
		h.checkConsumer(c)
	}
	return h.Findings
}

// checkConsumer checks what a consumer got and was told.
func (h *topicHistory) checkConsumer(c *consumer) {
	if c.key != "" {
		view := h.withKey(c.key)
		c.deliveries = c.seenIn(h, view)
		h = view
	}
	h.sortDeliveries(c)
	if len(c.seeks) > 0 {
		h.checkSeek(c)
		return
	}

	h.checkPauses(c)
	c.empty = slices.DeleteFunc(c.empty, c.mayBePaused)
	h.checkDeliveries(c)
	if c.mode == "lease" {
		h.checkLeases(c)
	}
	if c.maxDeliveries > 0 {
		h.checkDeadLetters(c)
	}
	h.checkSizes(c)
}

// sceneChecks are the checks of topics that have the traffic of a scene of its own.
var sceneChecks = map[string]func(*topicHistory){
	"life":     (*topicHistory).checkLife,
	"purge":    (*topicHistory).checkPurge,
	"expected": (*topicHistory).checkExpected,
	"settings": (*topicHistory).checkSettings,
	"ttl":      (*topicHistory).checkTTL,
	"dropped":  (*topicHistory).checkDropped,
}

// sortOps fills the fields of h from its operations.
func (h *topicHistory) sortOps() {
	for _, op := range h.ops {
		switch op.Kind {
		case history.OpProduce, history.OpAppend, history.OpProbe:
			for i, data := range op.Data {
				h.addSend(data, op, i)
			}
		case history.OpBrowse:
			if op.Final && op.Outcome == history.OK {
				h.addReplay(op)
			}
		case history.OpRegisterConsumer, history.OpCreateConsumer:
			h.addConsumer(op)
		}
	}
	if !h.complete {
		h.replay = nil
		return
	}

	for i := range h.log {
		e := &h.log[i]
		if e.send = h.sends[e.data]; e.send != nil {
			e.call = e.send.call
			if e.proof = e.send.stored; e.proof != nil {
				e.stored = e.proof.Return
			}
		}
	}
	for _, op := range h.ops {
		h.addCall(op)
		if op.Kind == history.OpReadDead {
			h.addDeadLetters(op)
		}
	}
}

// outcomeOf returns the outcome of the i-th message of op. A batch that is not
// atomic has one for each message.
func outcomeOf(op *history.Op, i int) string {
	if op.Kind != history.OpAppend || len(op.Receipts) != len(op.Data) {
		return op.Outcome
	}
	switch op.Receipts[i].Code {
	case "":
		return history.OK
	case "unavailable", "internal":
		return history.Unknown
	}
	return history.Refused
}

// addSend adds the i-th message of op.
func (h *topicHistory) addSend(data string, op *history.Op, i int) {
	s := h.sends[data]
	if s == nil {
		s = &send{call: history.Never, succeeded: history.Never, refused: true, delayed: true}
		h.sends[data] = s
	}
	s.ops = append(s.ops, op)
	s.call = min(s.call, op.Call+int64(op.Delay))
	s.delayed = s.delayed && op.Delay > 0

	outcome := outcomeOf(op, i)
	s.refused = s.refused && outcome == history.Refused
	if outcome == history.OK && op.Return < s.succeeded {
		s.succeeded, s.success = op.Return, op
	}
	later := op.Delay > 0 || i < len(op.Receipts) && op.Receipts[i].Sequence == 0 // as a repeat of a delayed message
	if outcome == history.OK && !later && (s.stored == nil || op.Return < s.stored.Return) {
		s.stored = op
	}
}

// addReplay adds a page of the replay to the log.
func (h *topicHistory) addReplay(op *history.Op) {
	if h.replay == nil {
		h.replay = op
	}
	h.complete = len(op.Got) == 0

	for _, m := range op.Got {
		if first, found := h.index[m.Data]; found {
			h.reportStoredTwice(m, h.log[first].sequence)
			continue
		}
		h.index[m.Data] = len(h.log)
		h.log = append(h.log, entry{sequence: m.Sequence, data: m.Data, stored: history.Never})
	}
}

// addConsumer adds a consumer. One with a name may be created by several calls; it
// exists since the first of them took effect.
func (h *topicHistory) addConsumer(op *history.Op) {
	if op.Outcome != history.OK {
		return
	}
	c := h.consumers[op.ID]
	if c == nil {
		c = &consumer{
			id: op.ID, mode: op.Mode, lease: int64(op.Lease), first: op.First,
			key: op.MessageKey, maxDeliveries: op.Limit, created: op, call: op.Call, ret: op.Return,
		}
		h.consumers[op.ID] = c
	}
	c.ret = min(c.ret, op.Return)
	c.call = min(c.call, op.Call)

	if op.Name == "" {
		return
	}
	for _, other := range h.ops { // also those of unknown outcome may have created it
		if other.Kind == op.Kind && other.Name == op.Name {
			c.call = min(c.call, other.Call)
		}
	}
}

// addCall adds a call to its consumer, and the messages that it returned.
func (h *topicHistory) addCall(op *history.Op) {
	if op.Kind == history.OpBrowse || op.Kind == history.OpGet {
		h.addMessages(op, nil)
		return
	}
	c := h.consumers[op.ID]
	if c == nil {
		return
	}

	switch op.Kind {
	case history.OpConsume, history.OpFetch, history.OpStream, history.OpSocket:
		c.addReceive(op)
		h.addMessages(op, c)
	case history.OpSize:
		if op.Outcome == history.OK {
			c.sizes = append(c.sizes, op)
		}
	case history.OpAck, history.OpNack, history.OpExtend:
		c.leaseCalls = append(c.leaseCalls, op)
	case history.OpSeek:
		c.seeks = append(c.seeks, op)
	case history.OpPause, history.OpResume:
		c.pauses = append(c.pauses, op)
	}
}

// addReceive adds a call that asked for messages of c.
func (c *consumer) addReceive(op *history.Op) {
	c.receives = append(c.receives, op)
	if op.Outcome == history.Unknown || op.Kind == history.OpSocket { // a socket may have had more on its way
		c.unanswered = append(c.unanswered, op)
	}
	nothing := op.Kind == history.OpFetch && op.Outcome == history.OK && len(op.Got) == 0
	if nothing || op.Code == "empty" {
		c.empty = append(c.empty, op)
	}
}

// addMessages adds the messages that op returned to a consumer, or to a reader if
// c is nil.
func (h *topicHistory) addMessages(op *history.Op, c *consumer) {
	for _, m := range op.Got {
		index, found := h.index[m.Data]
		if !found {
			h.reportNotStored(op, m)
			continue
		}

		d := delivery{
			event: event{index: index, op: op, call: op.Call, ret: op.Return},
			token: m.Token, count: m.Deliveries,
		}
		if m.At > 0 {
			d.ret = m.At
		}
		e := &h.log[index]
		wanted := op.MessageKey
		if c != nil {
			wanted = c.key
		}
		h.checkKeyOf(op, m, e.send, wanted)
		if d.ret < e.stored {
			e.stored, e.proof = d.ret, op
		}
		if m.Sequence > 0 && m.Sequence != e.sequence {
			h.violated(checkReplay, proof{op, h.replay},
				"%s had sequence %d, and has %d at the end", m.Data, m.Sequence, e.sequence)
		}
		if c != nil {
			c.deliveries = append(c.deliveries, d)
		}
	}
}

// reportNotStored reports a message that a client got and that is not in the topic
// at the end.
func (h *topicHistory) reportNotStored(op *history.Op, m history.Message) {
	s := h.sends[m.Data]
	if s == nil {
		h.violated(checkPhantom, proof{op}, "%s was never sent to this topic, and was received", m.Data)
		return
	}
	h.violated(checkReplay, append(proof{op, h.replay}, s.ops...), "%s was received, and is not in the topic", m.Data)
}

// storedBefore returns how many messages were certainly stored at that time: all of
// log[:n], since a message is stored after all before it.
func (h *topicHistory) storedBefore(time int64) (n int) {
	for i := len(h.log) - 1; i >= 0; i-- {
		if h.log[i].stored < time {
			return i + 1
		}
	}
	return 0
}
