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

// MaxLineBytes is the greatest length of a line of a producer's log file, without its
// line break. A file may have any number of lines.
const MaxLineBytes = 1 << 20

// ProducerFile returns the path of the log file that producer id reads in dir.
func ProducerFile(dir string, id int) string {
	return filepath.Join(dir, fmt.Sprintf("producer_%d.txt", id))
}

// ConsumerFile returns the path of the log file that consumer id writes in dir.
func ConsumerFile(dir string, id int) string {
	return filepath.Join(dir, fmt.Sprintf("consumer_%d.txt", id))
}

// Line holds one line of a producer's log file.
type Line struct {
	Number   int    // in its file, from 1
	Time     string // HH:MM:SS, not checked
	Message  string
	Parallel string // the producer and its round; lines that share it belong to one instant
	Topic    string
}

// FormatError reports a line of a log file that has a wrong format or the wrong topic.
type FormatError struct {
	File     string
	Line     int // from 1
	Expected string
	Found    string
}

func (e *FormatError) Error() string {
	// Existing scripts look for this text, misspelling included.
	return fmt.Sprintf("log file:incompitable: %s:%d: expected %s, found %s", e.File, e.Line, e.Expected, e.Found)
}

// ParseLine parses a line of a producer's log file: four fields, separated by spaces or
// tabs. Errors: [*FormatError], without the name of a file.
func ParseLine(number int, text string) (Line, error) {
	if !utf8.ValidString(text) { // JSON would change it
		return Line{}, &FormatError{Line: number, Expected: "valid UTF-8", Found: "other bytes"}
	}

	fields := strings.Fields(text)
	if len(fields) != 4 {
		const expected = "4 fields (time, message, parallel, topic)"
		return Line{}, &FormatError{Line: number, Expected: expected, Found: strconv.Itoa(len(fields))}
	}
	return Line{Number: number, Time: fields[0], Message: fields[1], Parallel: fields[2], Topic: fields[3]}, nil
}

// Lines reads a producer's log file line by line and checks that the topics repeat in
// the order of round; the file may end within a round. It ends at the first error,
// which is a [*FormatError] or the error of reading r. File is the name of the file in
// errors.
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
			expected := fmt.Sprintf("at most %d bytes", MaxLineBytes)
			err = &FormatError{File: file, Line: number + 1, Expected: expected, Found: "more"}
		}
		if err != nil {
			yield(Line{}, err)
		}
	}
}

// separator separates the topic from the message in a consumer's log file.
const separator = "     "

// FormatConsumed returns the line of a consumer's log file for a message, with its line
// break. It writes the message unchanged, so that a message with a line break makes
// several lines. A log runner never produces such a message, but other clients may.
func FormatConsumed(topic, message string) string {
	return topic + separator + message + "\n"
}

// ParseConsumed parses a line of a consumer's log file, without its line break. It
// reports false if the line has another format.
func ParseConsumed(line string) (topic, message string, ok bool) {
	topic, message, ok = strings.Cut(line, separator)
	return topic, message, ok && topic != ""
}
