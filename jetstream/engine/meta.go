package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
)

// checkMeta checks the settings in a directory below that of the stream, and their checksum, which is computed with
// key. If only one bit is wrong in either file, it is corrected. The function sound reports whether settings are those
// of this stream or consumer.
func (c *checker) checkMeta(below, key string, sound func(settings []byte) bool) error {
	file, sumFile := filepath.Join(below, settingsFile), filepath.Join(below, checksumFile)
	settings, err := os.ReadFile(filepath.Join(c.dir, file))
	if err != nil {
		return skipMissing(err)
	}
	sum, err := os.ReadFile(filepath.Join(c.dir, sumFile))
	if skipMissing(err) != nil {
		return err
	}

	want := checksum(key, settings)
	switch {
	case string(sum) == want:
	case oneDigitApart(sum, want):
		c.mend(FileDamage{File: sumFile, Problem: "one digit of the checksum is wrong"}, []byte(want))
	case mendBit(settings, func() bool { return checksum(key, settings) == string(sum) }):
		c.mend(FileDamage{File: file, Problem: "one bit is wrong"}, settings)
	case sound(settings) && c.isOutdated(file, sumFile):
		// The process ended after it had written the settings, and before their checksum.
		c.mend(FileDamage{File: sumFile, Problem: "the checksum is that of earlier settings"}, []byte(want))
	default:
		c.damaged(FileDamage{File: file, Problem: "the checksum of the settings is wrong"})
	}
	return nil
}

// isOutdated reports whether a checksum is missing, empty, or not newer than its settings.
func (c *checker) isOutdated(file, sumFile string) bool {
	settings, err := os.Stat(filepath.Join(c.dir, file))
	if err != nil {
		return false
	}
	sum, err := os.Stat(filepath.Join(c.dir, sumFile))
	return err != nil || sum.Size() == 0 || !sum.ModTime().After(settings.ModTime())
}

// oneDigitApart reports whether a checksum differs from the right one in one place.
func oneDigitApart(sum []byte, want string) bool {
	differ := 0
	for i := range min(len(sum), len(want)) {
		if sum[i] != want[i] {
			differ++
		}
	}
	return len(sum) == len(want) && differ == 1
}

// mendBit changes the one bit of data that makes it sound. It returns false, and leaves data as
// it was, if there is none.
func mendBit(data []byte, sound func() bool) bool {
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			if sound() {
				return true
			}
			data[i] ^= 1 << bit
		}
	}
	return false
}

// decodeStrictly returns an error if data is not the JSON of a T.
func decodeStrictly[T any](data []byte) (value T, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	return value, decoder.Decode(&value)
}

// checkConsumers checks the settings of the stream's consumers, and how far they are.
func (c *checker) checkConsumers() error {
	consumers, err := os.ReadDir(filepath.Join(c.dir, consumersDir))
	if err != nil {
		return skipMissing(err)
	}

	for _, consumer := range consumers {
		below := filepath.Join(consumersDir, consumer.Name())
		err := c.checkMeta(below, c.Stream+"/"+consumer.Name(), func(settings []byte) bool {
			info, err := decodeStrictly[server.FileConsumerInfo](settings)
			return err == nil && info.Name == consumer.Name()
		})
		if err != nil {
			return err
		}

		file := filepath.Join(below, stateFile)
		state, err := os.ReadFile(filepath.Join(c.dir, file))
		if skipMissing(err) != nil {
			return err
		}
		if len(state) > 0 && checkState(state) != nil {
			c.damaged(FileDamage{File: file, Problem: "it does not say how far the consumer is"})
			c.repairs = append(c.repairs, repair{file: file, keep: true})
		}
	}
	return nil
}

var errBadState = errors.New("the state of a consumer is damaged")

// checkState returns an error if state is not what the engine stores about the progress of a consumer (nats-server:
// filestore.go, encodeConsumerState). It has no checksum; the numbers must make sense. A damaged one could keep the
// engine in an endless loop.
func checkState(state []byte) error {
	const magic, oldest, newest = 22, 1, 2
	if len(state) < 2 || state[0] != magic || state[1] < oldest || state[1] > newest {
		return errBadState
	}
	version, d := state[1], &indexDecoder{data: state[2:]}

	ackedConsumer, acked := d.number(), d.number()
	deliveredConsumer, delivered := d.number(), d.number()
	if version == newest && (ackedConsumer > deliveredConsumer || acked > delivered) || delivered >= tombstone {
		return errBadState
	}

	pending := d.number()
	if pending > 0 {
		d.signed() // time
	}
	for ; pending > 0 && !d.failed; pending-- {
		sequence := d.number()
		if version == newest {
			d.number() // sequence of the delivery
		}
		d.signed() // time
		if version == newest && acked+sequence > delivered {
			return errBadState
		}
	}

	for n := d.number(); n > 0 && !d.failed; n-- {
		d.number() // sequence
		d.number() // deliveries
	}
	if d.failed || len(d.data) > 0 {
		return errBadState
	}
	return nil
}
