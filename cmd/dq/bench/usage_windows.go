package bench

import "time"

// usage returns 0 for both values, because they are unknown on Windows.
func usage() (cpu time.Duration, rss int64) { return 0, 0 }
