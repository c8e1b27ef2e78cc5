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
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kelseyhightower/envconfig"

	"dq/jetstream"
)

// envPrefix starts the name of every variable. PERSIST may stand without it.
const envPrefix = "DQ"

// Config is everything that can be set. Each field is an environment variable.
type Config struct {
	Addr            string        `default:"127.0.0.1:5000" desc:"address to listen on, HOST:PORT; an empty HOST is every interface"`
	Persist         YesNo         `envconfig:"PERSIST" default:"yes" desc:"yes: keep everything in files; no: in memory, until the broker stops"`
	DataDir         string        `split_words:"true" default:"dq-data" desc:"directory of the files, made if it is not there"`
	Durability      Durability    `default:"interval" desc:"interval: sync files to the disk every DQ_SYNC_INTERVAL; always: before each answer"`
	SyncInterval    time.Duration `split_words:"true" default:"10s" desc:"time between syncs; what a power cut may take back"`
	MaxMessageBytes int           `split_words:"true" default:"1048576" desc:"largest message in bytes, at most 33554432"`
	Tokens          string        `desc:"file of the tokens that may use the broker (dq token new); none: everybody may"`
	Open            YesNo         `default:"no" desc:"yes: listen beyond this machine without tokens, too"`
	TLSCert         string        `envconfig:"TLS_CERT" desc:"file of the certificate to show, for https"`
	TLSKey          string        `envconfig:"TLS_KEY" desc:"file of its key"`
	TLSClientCA     string        `envconfig:"TLS_CLIENT_CA" desc:"file of the authorities whose client certificates count; one is asked for"`
	AuditLog        string        `split_words:"true" desc:"file to append administrative calls to"`
	CORSOrigins     string        `split_words:"true" default:"*" desc:"origins that browsers may call from, with commas; * is any, none is none"`
	RequestTimeout  time.Duration `split_words:"true" default:"5s" desc:"how long the broker may work on one request"`
	ShutdownTimeout time.Duration `split_words:"true" default:"8s" desc:"how long requests under way may take to finish on SIGTERM"`
	DrainDelay      time.Duration `split_words:"true" default:"0s" desc:"on SIGTERM: how long to go on while /readyz says no, for load balancers"`
	Replicas        int           `default:"1" desc:"servers of a NATS cluster that hold each topic, 1 to 5"`
	NATSURL         string        `envconfig:"NATS_URL" desc:"servers of a NATS that runs elsewhere, to use in place of the own one"`
	NATSAddr        string        `envconfig:"NATS_ADDR" desc:"address to listen on for NATS clients, HOST:PORT; no port is open without it"`
	NATSUser        string        `envconfig:"NATS_USER" desc:"user of NATS, needed with DQ_NATS_ADDR"`
	NATSPassword    string        `envconfig:"NATS_PASSWORD" desc:"password of that user"`
	LogLevel        slog.Level    `split_words:"true" default:"info" desc:"debug, info, warn or error"`
	LogFormat       LogFormat     `split_words:"true" default:"text" desc:"text or json"`

	// Heartbeat is how long streams and sockets stay silent; 0 is the facade's own
	// default. It is for tests, which cannot wait for that.
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

// Durability is when data is synced to the disk.
type Durability string

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

// LogFormat is how log lines are written.
type LogFormat string

// Decode implements [envconfig.Decoder].
func (l *LogFormat) Decode(value string) error {
	choice, err := oneOf(value, "text", "json")
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

// LoadConfig reads the configuration from the environment. An error names the
// variable. Unknown lists the variables that look like ours and are not.
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
	return cfg, unknownVariables(), cfg.check()
}

// check refuses values that have the right type and make no sense.
func (c *Config) check() error {
	refuse := func(name string, value any, want string) error {
		return fmt.Errorf("%s_%s=%v: want %s", envPrefix, name, value, want)
	}
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		return refuse("ADDR", c.Addr, "HOST:PORT")
	}
	if bool(c.Persist) && c.DataDir == "" {
		return refuse("DATA_DIR", c.DataDir, "a directory")
	}
	if c.MaxMessageBytes < 1 || c.MaxMessageBytes > jetstream.MaxMessageBytes {
		return refuse("MAX_MESSAGE_BYTES", c.MaxMessageBytes, fmt.Sprintf("1 to %d", jetstream.MaxMessageBytes))
	}
	if c.DrainDelay < 0 {
		return refuse("DRAIN_DELAY", c.DrainDelay, "0s or more")
	}
	if err := c.checkOrigins(refuse); err != nil {
		return err
	}
	if c.Replicas < 1 || c.Replicas > jetstream.MaxReplicas {
		return refuse("REPLICAS", c.Replicas, fmt.Sprintf("1 to %d", jetstream.MaxReplicas))
	}
	if err := c.checkNATS(refuse); err != nil {
		return err
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return refuse("TLS_CERT", c.TLSCert, "DQ_TLS_KEY with it, and neither without the other")
	}
	if c.TLSClientCA != "" && c.TLSCert == "" {
		return refuse("TLS_CLIENT_CA", c.TLSClientCA, "DQ_TLS_CERT and DQ_TLS_KEY with it")
	}
	if !c.local() && c.Tokens == "" && !bool(c.Open) {
		return refuse("ADDR", c.Addr, "an address of this machine only, such as 127.0.0.1:5000, or DQ_TOKENS, or DQ_OPEN=yes to let everybody in who can reach it")
	}
	for name, d := range map[string]time.Duration{
		"SYNC_INTERVAL":    c.SyncInterval,
		"REQUEST_TIMEOUT":  c.RequestTimeout,
		"SHUTDOWN_TIMEOUT": c.ShutdownTimeout,
	} {
		if d <= 0 {
			return refuse(name, d, "a duration above zero, such as 10s")
		}
	}
	return nil
}

// local reports whether only this machine can reach the broker.
func (c *Config) local() bool {
	host, _, err := net.SplitHostPort(c.Addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func (c *Config) checkOrigins(refuse func(name string, value any, want string) error) error {
	if c.CORSOrigins == "*" || c.CORSOrigins == "none" || c.CORSOrigins == "" {
		return nil
	}
	for origin := range strings.SplitSeq(c.CORSOrigins, ",") {
		u, err := url.Parse(strings.TrimSpace(origin))
		if err != nil || u.Scheme == "" || u.Host == "" || strings.Contains(strings.TrimPrefix(u.Host, "*."), "*") ||
			strings.TrimSuffix(u.String(), "/") != u.Scheme+"://"+u.Host {
			return refuse("CORS_ORIGINS", c.CORSOrigins, `*, none, or origins such as "https://example.com,https://*.example.com,http://localhost:3000"`)
		}
	}
	return nil
}

func (c *Config) checkNATS(refuse func(name string, value any, want string) error) error {
	if c.NATSAddr == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.NATSAddr); err != nil {
		return refuse("NATS_ADDR", c.NATSAddr, "HOST:PORT")
	}
	if c.NATSUser == "" || c.NATSPassword == "" {
		return refuse("NATS_ADDR", c.NATSAddr, "DQ_NATS_USER and DQ_NATS_PASSWORD set too: the port is not opened to everybody")
	}
	if c.NATSURL != "" {
		return refuse("NATS_ADDR", c.NATSAddr, "not both of it and DQ_NATS_URL: NATS clients connect to that server itself")
	}
	return nil
}

// clientVariables are those of the commands rather than of the broker.
var clientVariables = []string{BrokerVariable, TokenVariable}

// unknownVariables are the variables with our prefix that set nothing, most
// likely misspelt. They are no error: a cluster manager sets some for every
// service, and dq may be one's name.
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

// BrokerVariable names the variable that tells the commands which broker to
// talk to.
const BrokerVariable = "DQ_BROKER"

// TokenVariable names the variable with the token that the commands show it.
const TokenVariable = "DQ_TOKEN"

// Usage writes the table of all variables in Markdown, which also reads well on
// a terminal.
func Usage(w io.Writer) error {
	const table = "| variable\t| default\t| meaning\t|\n| ---\t| ---\t| ---\t|\n" +
		"{{range .}}| {{usage_key .}}\t| {{usage_default .}}\t| {{usage_description .}}\t|\n{{end}}"
	tabs := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	if err := envconfig.Usagef(envPrefix, &Config{}, tabs, table); err != nil {
		return err
	}
	return tabs.Flush()
}
