package bench

import "time"

// usage is unknown on Windows.
func usage() (cpu time.Duration, rss int64) { return 0, 0 }
