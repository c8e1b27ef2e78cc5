package traffic

import (
	"encoding/json"
	"errors"

	"dq/cmd/dq/verify/history"
)

// errIncomplete is the error of an answer that lacks a field.
var errIncomplete = errors.New("the answer lacks a field that the API promises")

// decodeProducer reads the id of a new producer.
func decodeProducer(op *history.Op, body []byte) error {
	var answer struct {
		ID *int64 `json:"producer_id"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	return setID(op, answer.ID)
}

// decodeClassicConsumer reads the id of a new consumer of the classic API.
func decodeClassicConsumer(op *history.Op, body []byte) error {
	var answer struct {
		ID *int64 `json:"consumer_id"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	return setID(op, answer.ID)
}

func setID(op *history.Op, id *int64) error {
	if id == nil {
		return errIncomplete
	}
	op.ID = *id
	return nil
}

// decodeNewConsumer reads the id and the position of a consumer that was created.
func decodeNewConsumer(op *history.Op, body []byte) error {
	var answer struct {
		ID       *int64
		Position *uint64
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	if answer.Position == nil {
		return errIncomplete
	}
	op.From = *answer.Position
	return setID(op, answer.ID)
}

// decodeTopic reads the settings and the state of a topic.
func decodeTopic(op *history.Op, body []byte) error {
	var answer struct {
		Settings *history.Settings
		history.State
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	if answer.Settings == nil {
		return errIncomplete
	}
	op.Settings, op.State = answer.Settings, &answer.State
	return nil
}

// decodeConsumer reads the id and the counts of a consumer that was asked for by its
// name.
func decodeConsumer(op *history.Op, body []byte) error {
	var answer struct {
		ID, Size int64
		Dropped  int64 `json:"dropped_unread"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	op.ID, op.Size, op.Dropped = answer.ID, answer.Size, answer.Dropped
	return nil
}

// decodeReceipts reads one receipt for each message that was sent.
func decodeReceipts(op *history.Op, body []byte) error {
	var answer struct{ Messages []history.Receipt }
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	op.Receipts = answer.Messages
	if len(op.Receipts) != len(op.Data) {
		return errIncomplete
	}
	return nil
}

// decodeClassicMessage reads the message of the classic consume.
func decodeClassicMessage(op *history.Op, body []byte) error {
	var answer struct{ Message *string }
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	if answer.Message == nil {
		return errIncomplete
	}
	op.Got = []history.Message{{Data: history.NameOf(*answer.Message)}}
	return nil
}

// decodeSize reads the size of a consumer.
func decodeSize(op *history.Op, body []byte) error {
	var answer struct{ Size *int64 }
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	if answer.Size == nil {
		return errIncomplete
	}
	op.Size = *answer.Size
	return nil
}

// decodeMessage reads a single message.
func decodeMessage(op *history.Op, body []byte) error {
	var m history.Message
	if err := json.Unmarshal(body, &m); err != nil {
		return err
	}
	m.Data = history.NameOf(m.Data)
	op.Got = []history.Message{m}
	return nil
}

// decodeMessages reads a list of messages.
func decodeMessages(op *history.Op, body []byte) error {
	var answer struct{ Messages []history.Message }
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	for i := range answer.Messages {
		answer.Messages[i].Data = history.NameOf(answer.Messages[i].Data)
	}
	op.Got = answer.Messages
	return nil
}
