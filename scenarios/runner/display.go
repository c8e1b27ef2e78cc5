package runner

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Display shows the progress of a run: as a progress bar on a terminal, elsewhere as a
// line at its start and one at its end. It is not safe for concurrent use.
type Display struct {
	w       io.Writer
	name    string
	unit    string
	bar     *progressbar.ProgressBar // nil before the first update, and without a terminal
	started time.Time
	last    time.Time // of the last update
	done    int
}

// spinner is the total of a progress bar that shows no end.
const spinner = -1

// NewDisplay returns a display on w for the run called name. Unit names what it counts,
// in the plural.
func NewDisplay(w io.Writer, name, unit string) *Display {
	return &Display{w: w, name: name, unit: unit}
}

// Update shows that done of total units are done. The first call starts the clock.
func (d *Display) Update(done, total int) {
	if d.started.IsZero() {
		d.start(total, fmt.Sprintf("%d %s to go", total, d.unit))
	}
	d.set(done)
}

// Count shows that done units are done, of a number that is not known. The first call
// starts the clock.
func (d *Display) Count(done int) {
	if d.started.IsZero() {
		d.start(spinner, "waiting for "+d.unit)
	}
	d.set(done)
}

// set shows that done units are done.
func (d *Display) set(done int) {
	d.done, d.last = done, time.Now()
	if d.bar != nil {
		_ = d.bar.Set(done) // a display that fails must not stop the run
	}
}

// start starts the clock and shows a progress bar or, without a terminal, text.
func (d *Display) start(total int, text string) {
	d.started = time.Now()
	if !isTerminal(d.w) {
		fmt.Fprintf(d.w, "%s: %s\n", d.name, text)
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
		progressbar.OptionSetSpinnerChangeInterval(0), // start no goroutine
	)
}

// Finish ends the display with a line that has the verb, the count, and the rate
// between the first update and the last.
func (d *Display) Finish(verb string) {
	if d.bar != nil {
		_ = d.bar.Exit() // leaves the bar as it is
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
