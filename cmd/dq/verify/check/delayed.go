package check

// delaySlack is the inaccuracy of the times of delayed messages, in nanoseconds: the
// brokers that store a message may have other clocks than the one that accepted it.
const delaySlack = leaseSlack

// checkDelayed checks that no delayed message appeared before its time. That it
// appeared once is what is checked of all messages.
func (h *topicHistory) checkDelayed() {
	for i := range h.log {
		e := &h.log[i]
		if e.send == nil || !e.send.delayed {
			continue
		}
		h.count(checkDelayed, 1)
		if e.stored < e.call-delaySlack {
			h.violated(checkDelayed, append(proof{e.proof}, e.send.ops...),
				"%s was in the topic before its time", e.data)
		}
	}
}
