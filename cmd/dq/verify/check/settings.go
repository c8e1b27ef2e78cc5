package check

import "dq/cmd/dq/verify/history"

// settingsState is a topic whose limits are changed.
type settingsState struct {
	settings history.Settings
	messages int64
}

// checkSettings checks that changed settings are in force at once, at every broker.
func (h *topicHistory) checkSettings() {
	m := machine[settingsState]{
		start: settingsState{settings: history.Settings{WhenFull: dropOldest}},
		next:  h.nextSettingsState,
	}
	checkMachine(h, checkSettings, "the limits of the topic", m,
		history.OpChangeTopic, history.OpAppend, history.OpPurge, history.OpDescribeTopic)
	h.checkSightings()
}

// dropOldest is the setting that makes room for a message by removing the oldest one.
const dropOldest = "drop_oldest"

func (h *topicHistory) nextSettingsState(s settingsState, op *history.Op) (after []settingsState) {
	switch op.Kind {
	case history.OpChangeTopic:
		after = effect(op, s, settingsState{*op.Settings, s.messages})
		if op.Outcome != history.Refused && s != s.trimmed() {
			after = append(after, settingsState{*op.Settings, s.trimmed().messages})
		}
		return after
	case history.OpPurge:
		for left := range h.appendedDuring(op) + 1 { // what is appended meanwhile may stay
			after = append(after, effect(op, s, settingsState{s.settings, min(s.messages, int64(left))})...)
		}
		return after
	case history.OpAppend:
		return s.append(op)
	}
	return s.describe(op)
}

// describe returns the state after the topic was described. While a new limit removes
// messages, one after the other, any number of them may be left.
func (s settingsState) describe(op *history.Op) []settingsState {
	messages := int64(op.State.Messages)
	possible := s.trimmed().messages <= messages && messages <= s.messages
	return onlyIf(possible && *op.Settings == s.settings, settingsState{s.settings, messages})
}

// trimmed returns s without the messages that a limit removes.
func (s settingsState) trimmed() settingsState {
	if s.settings.WhenFull == dropOldest && s.settings.MaxMessages > 0 {
		s.messages = min(s.messages, s.settings.MaxMessages)
	}
	return s
}

// append returns the states after a message was appended or refused.
func (s settingsState) append(op *history.Op) []settingsState {
	limit := s.settings.MaxMessageBytes
	tooLarge := limit > 0 && int64(len(history.Payload(op.Data[0]))) > limit
	full := s.settings.WhenFull != dropOldest && s.settings.MaxMessages > 0 && s.messages >= s.settings.MaxMessages

	stored := settingsState{s.settings, s.messages + 1}.trimmed()
	switch {
	case op.Code == "message_too_large":
		return onlyIf(tooLarge, s)
	case op.Code == "topic_full":
		return onlyIf(full, s)
	case tooLarge || full:
		return onlyIf(op.Outcome != history.OK, s)
	}
	return effect(op, s, stored)
}
