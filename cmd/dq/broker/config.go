package broker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kelseyhightower/envconfig"

	"dq/jetstream"
)

// envPrefix starts the name of every variable. PERSIST also works without it.
const envPrefix = "DQ"

// Config holds the settings of a broker. Each field but the last is an environment variable, named by its words. A tag
// that names the variable would have it read without DQ_ too, which only PERSIST is.
type Config struct {
	Addr                  string          `default:"127.0.0.1:5000" desc:"address to listen on, HOST:PORT; an empty HOST is every interface"`
	Persist               YesNo           `envconfig:"PERSIST" default:"yes" desc:"yes: keep everything in files; no: in memory, until the broker stops"`
	DataDir               string          `split_words:"true" default:"dq-data" desc:"directory of the files, created if it does not exist"`
	Durability            Durability      `default:"interval" desc:"interval: sync files to disk every DQ_SYNC_INTERVAL; always: before each answer"`
	SyncInterval          time.Duration   `split_words:"true" default:"10s" desc:"time between syncs; a power cut can lose all since the last one"`
	MaxMessageBytes       int             `split_words:"true" default:"1048576" desc:"largest message in bytes, at most 32505856"`
	Tokens                string          `desc:"file of the tokens that may use the broker (dq token new); empty: everybody may"`
	Open                  YesNo           `default:"no" desc:"yes: listen beyond this machine although DQ_TOKENS is empty"`
	TLSCert               string          `split_words:"true" desc:"certificate file; turns on HTTPS"`
	TLSKey                string          `split_words:"true" desc:"file of the certificate's private key"`
	TLSClientCA           string          `split_words:"true" desc:"file of the authorities of client certificates; clients may present one"`
	AuditLog              string          `split_words:"true" desc:"file to append administrative calls to"`
	CORSOrigins           Origins         `split_words:"true" default:"none" desc:"comma-separated origins whose pages may call the broker; *: all, none: none"`
	MaxConnectionsPerAddr ConnectionShare `split_words:"true" default:"half" desc:"open connections of one client address: half (of all), or a number; 0: no limit"`
	RequestTimeout        time.Duration   `split_words:"true" default:"5s" desc:"longest time that the broker works on one request"`
	ShutdownTimeout       time.Duration   `split_words:"true" default:"8s" desc:"on SIGTERM: longest time that requests in progress may take to finish"`
	DrainDelay            time.Duration   `split_words:"true" default:"0s" desc:"on SIGTERM: time to keep serving while /readyz says no, for load balancers"`
	Replicas              int             `default:"1" desc:"servers of a NATS cluster that store each topic, 1 to 5"`
	NatsURL               string          `split_words:"true" desc:"URLs of NATS servers that run elsewhere, to use instead of the built-in one"`
	NATSAddr              string          `split_words:"true" desc:"address to listen on for NATS clients, HOST:PORT; empty: no port is open"`
	NATSUser              string          `split_words:"true" desc:"NATS user that may do everything; required with DQ_NATS_ADDR if no DQ_TOKENS"`
	NATSPassword          string          `split_words:"true" desc:"password of the NATS user"`
	AcceptDamage          []string        `split_words:"true" desc:"comma-separated names of damaged topics to serve without the lost messages"`
	LogLevel              slog.Level      `split_words:"true" default:"info" desc:"debug, info, warn or error"`
	LogFormat             LogFormat       `split_words:"true" default:"text" desc:"text or json"`

	// Heartbeat is how long streams and sockets stay silent before they send a sign of life; 0 is the facade's
	// default. Tests shorten it.
	Heartbeat time.Duration `ignored:"true"`
}

// YesNo is a setting that is "yes" or "no".
type YesNo bool

// Decode implements [envconfig.Decoder].
func (y *YesNo) Decode(value string) error {
	choice, err := oneOf(value, "yes", "no")
	*y = choice == "yes"
	return err
}

// Durability says when stored data is synced to disk.
type Durability string

// The durabilities.
const (
	SyncInterval Durability = "interval" // in the background
	SyncAlways   Durability = "always"   // before the answer
)

// Decode implements [envconfig.Decoder].
func (d *Durability) Decode(value string) error {
	choice, err := oneOf(value, string(SyncInterval), string(SyncAlways))
	*d = Durability(choice)
	return err
}

// Origins lists the origins whose pages may call the broker, separated by commas; "*" allows all, "" none.
type Origins string

// Decode implements [envconfig.Decoder]. It takes "none" for no origins.
func (o *Origins) Decode(value string) error {
	*o = Origins(value)
	switch value {
	case "none":
		*o = ""
		return nil
	case "", "*":
		return nil
	}

	for origin := range strings.SplitSeq(value, ",") {
		if !isOrigin(strings.TrimSpace(origin)) {
			return errors.New(`want *, none, or origins such as ` +
				`"https://example.com,https://*.example.com,http://localhost:3000"`)
		}
	}
	return nil
}

// isOrigin reports whether text is a scheme and a host, which may start with "*.", and nothing else.
func isOrigin(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme != "" && u.Host != "" &&
		!strings.Contains(strings.TrimPrefix(u.Host, "*."), "*") &&
		strings.TrimSuffix(u.String(), "/") == u.Scheme+"://"+u.Host
}

// ConnectionShare says how many connections one client address may have open: "half" of all, or a number; 0 is no
// limit.
type ConnectionShare string

const halfOfAll ConnectionShare = "half"

// Decode implements [envconfig.Decoder].
func (s *ConnectionShare) Decode(value string) error {
	*s = ConnectionShare(value)
	if *s == halfOfAll {
		return nil
	}
	if _, err := strconv.ParseUint(value, 10, 31); err != nil {
		return errors.New("want half, a number of connections, or 0 for no limit")
	}
	return nil
}

// of returns the share of so many connections. An empty share is half of them.
func (s ConnectionShare) of(all int) int {
	if number, err := strconv.Atoi(string(s)); err == nil {
		return number
	}
	return max(1, all/2)
}

// LogFormat says how log lines are written.
type LogFormat string

// The log formats.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Decode implements [envconfig.Decoder].
func (l *LogFormat) Decode(value string) error {
	choice, err := oneOf(value, string(LogText), string(LogJSON))
	*l = LogFormat(choice)
	return err
}

func oneOf(value string, choices ...string) (string, error) {
	for _, choice := range choices {
		if strings.EqualFold(value, choice) {
			return choice, nil
		}
	}
	return "", fmt.Errorf("want %s", strings.Join(choices, " or "))
}

// LoadConfig reads the configuration from the environment. An error names the variable. Unknown lists the variables
// that start with DQ_ and set nothing.
func LoadConfig() (cfg Config, unknown []string, err error) {
	err = envconfig.Process(envPrefix, &cfg)
	var parse *envconfig.ParseError
	if errors.As(err, &parse) {
		name := parse.KeyName
		if _, ok := os.LookupEnv(name); !ok { // it was set without the prefix
			name = strings.TrimPrefix(name, envPrefix+"_")
		}
		return cfg, nil, fmt.Errorf("%s=%q: %w", name, parse.Value, parse.Err)
	}
	if err != nil {
		return cfg, nil, err
	}

	if err := cfg.check(); err != nil {
		return cfg, nil, err
	}
	return cfg, unknownVariables(), cfg.resolve()
}

// check refuses values that have the right type and make no sense.
func (c *Config) check() error {
	for _, check := range []func() error{c.checkStorage, c.checkTimes, c.checkNATS, c.checkTLS, c.checkAddress} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// refuse returns the error for a variable, named without its prefix.
func refuse(name, value, want string) error {
	return fmt.Errorf("%s_%s=%s: want %s", envPrefix, name, value, want)
}

func (c *Config) checkStorage() error {
	if bool(c.Persist) && c.DataDir == "" {
		return refuse("DATA_DIR", c.DataDir, "a directory")
	}
	if c.MaxMessageBytes < 1 || c.MaxMessageBytes > jetstream.MaxMessageBytes {
		want := fmt.Sprintf("1 to %d", jetstream.MaxMessageBytes)
		return refuse("MAX_MESSAGE_BYTES", strconv.Itoa(c.MaxMessageBytes), want)
	}
	if c.Replicas < 1 || c.Replicas > jetstream.MaxReplicas {
		return refuse("REPLICAS", strconv.Itoa(c.Replicas), fmt.Sprintf("1 to %d", jetstream.MaxReplicas))
	}
	return nil
}

func (c *Config) checkTimes() error {
	for name, d := range map[string]time.Duration{
		"SYNC_INTERVAL":    c.SyncInterval,
		"REQUEST_TIMEOUT":  c.RequestTimeout,
		"SHUTDOWN_TIMEOUT": c.ShutdownTimeout,
	} {
		if d <= 0 {
			return refuse(name, d.String(), "a duration above zero, such as 10s")
		}
	}

	if c.DrainDelay < 0 {
		return refuse("DRAIN_DELAY", c.DrainDelay.String(), "0s or more")
	}
	return nil
}

func (c *Config) checkNATS() error {
	if c.NATSAddr == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.NATSAddr); err != nil {
		return refuse("NATS_ADDR", c.NATSAddr, "HOST:PORT")
	}
	if (c.NATSUser == "") != (c.NATSPassword == "") || c.NATSUser == "" && c.Tokens == "" {
		return refuse("NATS_ADDR", c.NATSAddr,
			"DQ_TOKENS, or DQ_NATS_USER and DQ_NATS_PASSWORD, set too: the port is not opened to everybody")
	}
	if c.NatsURL != "" {
		return refuse("NATS_ADDR", c.NATSAddr,
			"DQ_NATS_URL unset: NATS clients connect to the servers of DQ_NATS_URL themselves")
	}
	return nil
}

func (c *Config) checkTLS() error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return refuse("TLS_CERT", c.TLSCert, "DQ_TLS_CERT and DQ_TLS_KEY both set, or neither")
	}
	if c.TLSClientCA != "" && c.TLSCert == "" {
		return refuse("TLS_CLIENT_CA", c.TLSClientCA, "DQ_TLS_CERT and DQ_TLS_KEY set too")
	}
	return nil
}

func (c *Config) checkAddress() error {
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		return refuse("ADDR", c.Addr, "HOST:PORT")
	}
	if c.needsOpen() && !bool(c.Open) {
		return refuse("ADDR", c.Addr, "an address of this machine only, such as 127.0.0.1:5000, or DQ_TOKENS, "+
			"or DQ_OPEN=yes to let everybody in who can reach it")
	}
	return nil
}

// needsOpen reports whether other machines can reach the address and no token protects it.
func (c *Config) needsOpen() bool {
	host, _, _ := net.SplitHostPort(c.Addr)
	loopback := host == "localhost" || net.ParseIP(host).IsLoopback()
	return !loopback && c.Tokens == ""
}

// resolve fills in what follows from other settings or from this machine.
func (c *Config) resolve() (err error) {
	c.Open = YesNo(c.needsOpen()) // without effect elsewhere

	if c.DataDir, err = filepath.Abs(c.DataDir); err != nil {
		return fmt.Errorf("DQ_DATA_DIR=%s: %w", c.DataDir, err)
	}
	return nil
}

// clientVariables are the variables that the commands read, not the broker.
var clientVariables = []string{BrokerVariable, TokenVariable}

// unknownVariables returns the variables with our prefix that set nothing and are most likely misspelt. They are no
// error: Kubernetes sets variables named after each service, and a service may be called dq.
func unknownVariables() []string {
	known := make(map[string]bool)
	var names bytes.Buffer
	_ = envconfig.Usagef(envPrefix, &Config{}, &names, "{{range .}}{{usage_key .}}\n{{end}}")
	for name := range strings.Lines(names.String()) {
		known[strings.TrimSpace(name)] = true
	}

	var unknown []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix+"_") && !slices.Contains(clientVariables, name) && !known[name] {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

// BrokerVariable names the variable that tells the commands which broker to talk to.
const BrokerVariable = "DQ_BROKER"

// TokenVariable names the variable that holds the token which the commands show to the broker.
const TokenVariable = "DQ_TOKEN"

// Usage writes the table of all variables in Markdown, which also reads well on a terminal.
func Usage(w io.Writer) error {
	const table = "| variable\t| default\t| meaning\t|\n| ---\t| ---\t| ---\t|\n" +
		"{{range .}}| {{usage_key .}}\t| {{usage_default .}}\t| {{usage_description .}}\t|\n{{end}}"
	tabs := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	if err := envconfig.Usagef(envPrefix, &Config{}, tabs, table); err != nil {
		return err
	}
	return tabs.Flush()
}
