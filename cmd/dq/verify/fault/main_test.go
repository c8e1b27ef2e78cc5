package fault

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// fakeBroker is set in the environment of a process that is to be a broker rather
// than the tests: one that answers /readyz, or ends at once if the value is "ends".
const fakeBroker = "FAULT_TEST_FAKE_BROKER"

func TestMain(m *testing.M) {
	switch os.Getenv(fakeBroker) {
	case "":
		os.Exit(m.Run())
	case "ends":
		os.Exit(1)
	}

	http.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/settings", func(w http.ResponseWriter, _ *http.Request) {
		for _, setting := range os.Environ() {
			if strings.HasPrefix(setting, "DQ_") {
				fmt.Fprintln(w, setting)
			}
		}
	})
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		<-terminated
		os.Exit(0)
	}()
	fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Getenv("DQ_ADDR"), nil))
	os.Exit(1)
}
