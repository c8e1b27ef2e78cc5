package check

import "dq/cmd/dq/verify/history"

// checkDropped checks the number of messages that were removed before a consumer had
// read them. There is one consumer, and its calls come one after the other.
func (h *topicHistory) checkDropped() {
	var stored, mayBeStored, got, mayBeGot int64
	for _, op := range h.ops {
		n := int64(len(op.Data))
		switch {
		case op.Kind == history.OpAppend && op.Outcome == history.OK:
			stored += n
		case op.Kind == history.OpAppend && op.Outcome == history.Unknown:
			mayBeStored += n
		case op.Kind == history.OpFetch && op.Outcome == history.Unknown:
			mayBeGot += int64(op.Limit)
		case op.Kind == history.OpFetch:
			got += int64(len(op.Got))

		case op.Kind == history.OpDescribeConsumer && op.Outcome == history.OK:
			h.count(checkDropped, 1)
			least, most := stored-got-mayBeGot-op.Size, stored+mayBeStored-got-op.Size
			if op.Dropped < least || op.Dropped > most {
				h.violated(checkDropped, proof{op},
					"%d messages were said to be dropped unread, and %d to %d were: %d were stored, and %d received",
					op.Dropped, least, most, stored, got)
			}
		}
	}

	h.checkSightings()
}
