package runner

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Display shows how far a run is: as a progress bar on a terminal, elsewhere
// with a line at its start and one at its end. It is not safe for concurrent
// use.
type Display struct {
	w       io.Writer
	name    string
	unit    string
	bar     *progressbar.ProgressBar // nil before the first update, and always where there is no terminal
	started time.Time
	last    time.Time // of the last update
	done    int
}

// NewDisplay returns a display on w of the run called name, which counts units.
func NewDisplay(w io.Writer, name, unit string) *Display {
	return &Display{w: w, name: name, unit: unit}
}

// Update shows that done of total are done; a total below 0 is not known. The
// first call starts the clock.
func (d *Display) Update(done, total int) {
	d.done, d.last = done, time.Now()
	if d.started.IsZero() {
		d.start(total)
	}
	if d.bar != nil {
		_ = d.bar.Set(done) // a display that fails stops no run
	}
}

func (d *Display) start(total int) {
	d.started = d.last
	if !isTerminal(d.w) {
		if total < 0 {
			fmt.Fprintf(d.w, "%s: waiting for %s\n", d.name, d.unit)
		} else {
			fmt.Fprintf(d.w, "%s: %d %s to go\n", d.name, total, d.unit)
		}
		return
	}
	d.bar = progressbar.NewOptions(total,
		progressbar.OptionSetWriter(d.w),
		progressbar.OptionSetDescription(d.name),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetItsString(d.unit),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetSpinnerChangeInterval(0), // no goroutine of its own
	)
}

// Finish leaves the display and writes the last line: the verb, the count, and
// the rate over the time from the first update to the last.
func (d *Display) Finish(verb string) {
	if d.bar != nil {
		_ = d.bar.Exit() // leaves the bar where it got to
		fmt.Fprintln(d.w)
	}
	if d.started.IsZero() {
		return
	}
	took := d.last.Sub(d.started)
	rate, digits := float64(d.done)/max(took.Seconds(), 1e-3), 0
	if rate < 10 {
		digits = 1
	}
	fmt.Fprintf(d.w, "%s: %s %d %s in %s (%.*f a second)\n",
		d.name, verb, d.done, d.unit, took.Round(time.Millisecond), digits, rate)
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
