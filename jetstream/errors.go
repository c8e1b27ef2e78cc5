package jetstream

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

type (
	// StorageFullError is [engine.StorageFullError].
	StorageFullError = engine.StorageFullError
	// UnavailableError is [engine.UnavailableError].
	UnavailableError = engine.UnavailableError
	// URLError is [engine.URLError].
	URLError = engine.URLError
	// NotStoredError is [engine.NotStoredError].
	NotStoredError = engine.NotStoredError
	// FileDamage is [engine.FileDamage].
	FileDamage = engine.FileDamage
)

// NameError says that a topic name breaks a rule of [CheckName].
type NameError struct{ Name, Rule string }

func (e *NameError) Error() string {
	return fmt.Sprintf("Topic:%.300s is not a valid topic name: %s", e.Name, e.Rule)
}

// TopicNotFoundError says that a topic does not exist.
type TopicNotFoundError struct{ Topic string }

func (e *TopicNotFoundError) Error() string { return fmt.Sprintf("Topic:%s does not exist", e.Topic) }

// TopicDamagedError says that the files of a topic are damaged. The topic is not served.
type TopicDamagedError struct {
	Topic  string
	Damage *engine.StreamDamage
}

func (e *TopicDamagedError) Error() string {
	return fmt.Sprintf("Topic:%s is damaged and not served: %s; replace its files by those of a backup, "+
		"or start the broker with DQ_ACCEPT_DAMAGE=%s to serve what is left", e.Topic, e.Damage, e.Topic)
}

// ExistsError says that a topic that was to be created exists already.
type ExistsError struct{ Topic string }

func (e *ExistsError) Error() string { return fmt.Sprintf("Topic:%s exists already", e.Topic) }

// BusyError says that a topic could not be created, changed, purged or deleted, because an
// earlier call that does so is still under way, such as the deletion of a topic with very
// many consumers. Nothing was done.
type BusyError struct{ Topic string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("Topic:%s is still being created, changed, purged or deleted by an earlier call: "+
		"try again", e.Topic)
}

// ConsumerNotFoundError says that a consumer does not exist.
type ConsumerNotFoundError struct {
	Consumer string // its id or name, as the caller wrote it
	Deleted  bool   // it existed, and was deleted by itself or with its topic
	Topic    string // the topic of a deleted consumer; "" if that is not known
}

func (e *ConsumerNotFoundError) Error() string {
	switch {
	case !e.Deleted:
		return fmt.Sprintf("Consumer:%.100s does not exist", e.Consumer)
	case e.Topic == "":
		return fmt.Sprintf("Consumer:%.100s does not exist any more: it was deleted, or its topic was", e.Consumer)
	}
	return fmt.Sprintf("Consumer:%.100s does not exist any more: it was deleted, or Topic:%s was", e.Consumer, e.Topic)
}

// SupersededError says that another stream of the consumer has taken over.
type SupersededError struct{}

func (*SupersededError) Error() string { return "another stream of this consumer has taken over" }

// EmptyError says that a consumer has consumed all messages of its topic.
type EmptyError struct {
	Consumer int64
	Topic    string
}

func (e *EmptyError) Error() string {
	return fmt.Sprintf("Consumer:%d has consumed all messages of Topic:%s", e.Consumer, e.Topic)
}

// NoMessageError says that a topic has no message at a sequence.
type NoMessageError struct {
	Topic    string
	Sequence uint64
}

func (e *NoMessageError) Error() string {
	return fmt.Sprintf("Topic:%s has no message %d: it was removed, or is not stored yet", e.Topic, e.Sequence)
}

// SettingError says that a setting of a topic or consumer has a wrong value.
type SettingError struct{ Setting, Value, Want string }

func (e *SettingError) Error() string {
	return fmt.Sprintf("invalid %s %.100q: want %s", e.Setting, e.Value, e.Want)
}

// FullError says that a topic has reached a limit and refuses new messages.
type FullError struct{ Topic string }

func (e *FullError) Error() string {
	return fmt.Sprintf("Topic:%s is full and refuses new messages: "+
		"purge it, or raise max_messages or max_bytes", e.Topic)
}

// DeadLetterError says that the dead-letter topic refused a message that was delivered
// as often as it may be. The consumer keeps the message.
type DeadLetterError struct {
	Topic    string // the dead-letter topic
	Sequence uint64 // of the message, in its own topic
	Err      error  // why; nil if that is not known
}

func (e *DeadLetterError) Error() string {
	const text = "message %d was delivered as often as it may be, and the dead-letter topic does not take it"
	if e.Err == nil {
		return fmt.Sprintf(text, e.Sequence)
	}
	return fmt.Sprintf(text+": %v", e.Sequence, e.Err)
}

func (e *DeadLetterError) Unwrap() error { return e.Err }

// MessageTooLargeError says that a message is larger than its topic or the broker
// allows.
type MessageTooLargeError struct {
	Topic string // "" if it is the limit of the broker or of the NATS servers
	Limit int    // bytes of data and, except for the broker's limit, headers; 0 if it is not known
	// OfServers says that it is the max_payload of the NATS servers.
	OfServers bool
}

func (e *MessageTooLargeError) Error() string {
	if e.OfServers {
		return fmt.Sprintf("the message with its headers is larger than the %d bytes that the NATS servers take: "+
			"send less, or raise their max_payload", e.Limit)
	}
	if e.Topic == "" {
		return fmt.Sprintf("the message is larger than the limit of %d bytes: "+
			"send less, or raise DQ_MAX_MESSAGE_BYTES", e.Limit)
	}

	limit := ""
	if e.Limit > 0 {
		limit = fmt.Sprintf(", which are %d", e.Limit)
	}
	return fmt.Sprintf("the message is larger than Topic:%s takes%s: "+
		"send less, or raise its max_message_bytes or max_bytes", e.Topic, limit)
}

// SequenceError says that a publish expected another last sequence. Nothing was
// stored.
type SequenceError struct {
	Topic string
	Last  *uint64 // what it is; nil if that is not known
}

func (e *SequenceError) Error() string {
	if e.Last == nil {
		return fmt.Sprintf("the last sequence of Topic:%s is not the expected one; nothing was stored", e.Topic)
	}
	return fmt.Sprintf("the last sequence of Topic:%s is %d and not the expected one; nothing was stored",
		e.Topic, *e.Last)
}

// BatchError says that a batch cannot be stored as it is. Nothing was stored.
type BatchError struct{ Problem string }

func (e *BatchError) Error() string { return e.Problem }

// DuplicateError says that an atomic batch has the same idempotency key twice, or a key
// that was used before. Nothing was stored.
type DuplicateError struct{}

func (*DuplicateError) Error() string {
	return "an idempotency key is in the batch twice, or was used before: " +
		"nothing of the batch was stored now; if this is a retry, it was stored then"
}

// ModeError says that an operation is for consumers of another mode.
type ModeError struct{ Operation, Mode string }

func (e *ModeError) Error() string {
	return fmt.Sprintf("%s is for a consumer in mode %q, and this one is in the other", e.Operation, e.Mode)
}

// LeaseError says that some tokens hold no lease: the lease has run out and the
// message was delivered again, or the message was acknowledged, or the consumer was
// moved. The call took effect for all other tokens.
type LeaseError struct{ Tokens []string }

func (e *LeaseError) Error() string {
	return fmt.Sprintf("%d of the tokens hold no lease (any more)", len(e.Tokens))
}

// SubjectsTakenError says that a topic cannot be created, because a stream that dq did not make
// listens on its subjects.
type SubjectsTakenError struct{}

func (*SubjectsTakenError) Error() string {
	return "another stream of the NATS account, which dq did not make, listens on the subjects of this topic: " +
		"change its subjects or delete it (nats stream ls), or choose another name for the topic"
}

// PermissionError says that the NATS user of dq lacks a permission.
type PermissionError struct{ Err error }

func (e *PermissionError) Error() string {
	return fmt.Sprintf("the NATS user of dq lacks a permission: grant it to publish and subscribe on $JS.API.>, "+
		"$JS.FC.>, $KV.>, dq.>, dq-delayed.> and _INBOX.>: %v", e.Err)
}

func (e *PermissionError) Unwrap() error { return e.Err }

// isMissing reports whether err says that a stream does not exist.
func isMissing(err error) bool { return errors.Is(err, jetstream.ErrStreamNotFound) }

// isNoMessage reports whether err says that a stream does not have a message.
func isNoMessage(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == codeNoMessage || api.ErrorCode == codeNoSequence)
}

// isUndecided reports whether err says that a message was refused because another one is
// under way, and it is not known yet whether that will be stored.
func isUndecided(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == codeWrongLastSeqR3 || api.ErrorCode == codeIDUnderWay)
}

// The engine's error codes for which this package has errors of its own.
const (
	codeMessageTooLarge   = 10054
	codeWrongLastSequence = 10071
	codeWrongLastSeqR3    = 10164
	codeWrongLastID       = 10070
	codeIDUnderWay        = 10158
	codeStoreFailed       = 10077
	codeBatchDuplicate    = 10201
	codeInvalidTTL        = 10165
	codeBatchIncomplete   = 10176
	codeReplicas          = 10074
	codeInvalidConfig     = 10052
	codeStorageResources  = 10047
	codeMemoryResources   = 10028
	codeNotAvailable      = 10008 // no leader
	codeWrongStream       = 10060
	codeNoPeers           = 10005
	codeSubjectsOverlap   = 10065
	codeNotEnabled        = 10076
	codeNotEnabledHere    = 10039 // for the account
	codeNoMessage         = 10037
	codeNoSequence        = 10043
)
