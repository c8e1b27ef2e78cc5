package runner

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxLineBytes is the most bytes that a line of a producer's log file may have,
// its end not counted. A file may have any number of lines.
const MaxLineBytes = 1 << 20

// ProducerFile is the log file that producer id reads in dir.
func ProducerFile(dir string, id int) string {
	return filepath.Join(dir, fmt.Sprintf("producer_%d.txt", id))
}

// ConsumerFile is the log file that consumer id writes in dir.
func ConsumerFile(dir string, id int) string {
	return filepath.Join(dir, fmt.Sprintf("consumer_%d.txt", id))
}

// Line is one line of a producer's log file.
type Line struct {
	Number   int    // in its file, from 1
	Time     string // HH:MM:SS, not checked
	Message  string
	Parallel string // the producer and its round; lines that share it belong to one instant
	Topic    string
}

// FormatError is a line that may not stand in a log file where it stands.
type FormatError struct {
	File     string
	Line     int // from 1
	Expected string
	Found    string
}

func (e *FormatError) Error() string {
	// The misspelling is what existing scripts look for.
	return fmt.Sprintf("log file:incompitable: %s:%d: expected %s, found %s", e.File, e.Line, e.Expected, e.Found)
}

// ParseLine parses a line of a producer's log file: four fields, parted by
// spaces or tabs. Its error is a [*FormatError] without a file.
func ParseLine(number int, text string) (Line, error) {
	refuse := func(expected, found string) (Line, error) {
		return Line{}, &FormatError{Line: number, Expected: expected, Found: found}
	}
	if !utf8.ValidString(text) {
		// JSON could only carry it changed.
		return refuse("valid UTF-8", "other bytes")
	}
	fields := strings.Fields(text)
	if len(fields) != 4 {
		return refuse("4 fields (time, message, parallel, topic)", strconv.Itoa(len(fields)))
	}
	return Line{Number: number, Time: fields[0], Message: fields[1], Parallel: fields[2], Topic: fields[3]}, nil
}

// Lines reads a producer's log file line by line and checks that their topics
// go round in the order of round; the file may end within a round. It ends at
// the first error, which is a [*FormatError] unless r failed. File is the name
// to use in errors.
func Lines(r io.Reader, file string, round []string) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, MaxLineBytes+1)
		number := 0
		for scanner.Scan() {
			number++
			line, err := ParseLine(number, scanner.Text())
			if want := round[(number-1)%len(round)]; err == nil && line.Topic != want {
				err = &FormatError{Line: number, Expected: "topic " + want, Found: line.Topic}
			}
			if format, ok := errors.AsType[*FormatError](err); ok {
				format.File = file
			}
			if !yield(line, err) || err != nil {
				return
			}
		}
		err := scanner.Err()
		if errors.Is(err, bufio.ErrTooLong) {
			err = &FormatError{file, number + 1, fmt.Sprintf("at most %d bytes", MaxLineBytes), "more"}
		}
		if err != nil {
			yield(Line{}, err)
		}
	}
}

// separator stands between the topic and the message in a consumer's log file.
const separator = "     "

// FormatConsumed is the line of a consumer's log file for a message, with its
// end. The message stands there as it is: one that holds a line break makes
// more than one line of the file. Only messages from elsewhere can, as a
// producer's log file has no such message.
func FormatConsumed(topic, message string) string {
	return topic + separator + message + "\n"
}

// ParseConsumed parses a line of a consumer's log file, without its end. It
// reports false if the line has another format.
func ParseConsumed(line string) (topic, message string, ok bool) {
	topic, message, ok = strings.Cut(line, separator)
	return topic, message, ok && topic != ""
}
