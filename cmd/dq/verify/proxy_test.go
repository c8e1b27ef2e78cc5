package verify_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/fasthttp/websocket"
)

// answer is what a broker answers.
type answer struct {
	status int
	body   string
}

// object is a JSON object.
type object = map[string]any

// jsonAnswer is an answer with that JSON.
func jsonAnswer(status int, fields object) answer {
	body, _ := json.Marshal(fields)
	return answer{status: status, body: string(body)}
}

// classicFailure is a failure of the classic API.
func classicFailure(status int, code string) answer {
	return jsonAnswer(status, object{"status": "failure", "code": code, "message": "planted"})
}

// fields are the fields of a JSON object, nil for anything else.
func fields(body string) (o object) {
	_ = json.Unmarshal([]byte(body), &o)
	return o
}

// objects is the list of objects in a field.
func objects(o object, name string) (list []object) {
	items, _ := o[name].([]any)
	for _, item := range items {
		list = append(list, item.(object))
	}
	return list
}

// edit changes the fields of an answer that is a JSON object.
func (a answer) edit(change func(object)) answer {
	o := fields(a.body)
	if o == nil {
		return a
	}
	change(o)
	return jsonAnswer(a.status, o)
}

// request is what a client asks, with what the bug remembers of earlier requests.
type request struct {
	*http.Request
	*bug
	body  string
	proxy *proxy
}

// forward sends the request to the broker.
func (r *request) forward() answer { return r.send(r.Method, r.URL.RequestURI(), r.body) }

// send sends another request with the same headers to the broker.
func (r *request) send(method, path, body string) answer {
	response, err := r.proxy.send(context.Background(), method, path, body, r.Header)
	if err != nil {
		return answer{status: http.StatusInternalServerError}
	}
	defer response.Body.Close()
	raw, _ := io.ReadAll(response.Body)
	return answer{status: response.StatusCode, body: string(raw)}
}

// calls reports whether r is a call with that method whose path ends so.
func (r *request) calls(method, suffix string) bool {
	return r.Method == method && strings.HasSuffix(r.URL.Path, suffix)
}

// nth counts an event, and reports whether it is the n-th of its kind.
func (r *request) nth(n int, event string) bool {
	r.counts[event]++
	return r.counts[event] == n
}

// bug is a planted one, with the check that must find it and a part of the text of
// the violation. Its plant answers a request, or returns false to have it forwarded.
type bug struct {
	name, check, text string
	plant             func(*request) (answer, bool)

	counts map[string]int    // of events
	kept   map[string]answer // to be given later
}

// proxy stands before a real broker and has bugs. Bugs see one request at a time.
type proxy struct {
	broker   string
	client   http.Client
	mu       sync.Mutex
	bugs     []*bug
	dropLine func(line string) bool // whether a line of a stream is dropped; nil drops none

	// socketText answers a text that a client sends over a socket, or returns "" to have
	// it forwarded.
	socketText func(text string) (reply string)
}

// start starts the proxy before a broker and returns its URL.
func (p *proxy) start(t *testing.T, broker string) string {
	t.Helper()
	p.broker = broker
	for _, b := range p.bugs {
		b.counts, b.kept = make(map[string]int), make(map[string]answer)
	}

	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return server.URL
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, in *http.Request) {
	body, _ := io.ReadAll(in.Body)
	switch {
	case strings.HasSuffix(in.URL.Path, "/stream"):
		p.stream(w, in)
		return
	case strings.HasSuffix(in.URL.Path, "/socket"):
		p.socket(w, in)
		return
	}

	r := &request{Request: in, body: string(body), proxy: p}
	out, planted := p.plant(r)
	if !planted {
		out = r.forward()
	}
	w.WriteHeader(out.status)
	_, _ = io.WriteString(w, out.body)
}

// plant asks the bugs for an answer.
func (p *proxy) plant(r *request) (out answer, planted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r.bug = range p.bugs {
		if out, planted := r.plant(r); planted {
			return out, true
		}
	}
	return answer{}, false
}

// stream forwards a stream line by line.
func (p *proxy) stream(w http.ResponseWriter, in *http.Request) {
	response, err := p.send(in.Context(), in.Method, in.URL.RequestURI(), "", in.Header)
	if err != nil {
		return
	}
	defer response.Body.Close()

	w.WriteHeader(response.StatusCode)
	lines := bufio.NewReader(response.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		if !p.drops(line) {
			_, _ = io.WriteString(w, line)
			_ = http.NewResponseController(w).Flush()
		}
	}
}

func (p *proxy) drops(line string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropLine != nil && p.dropLine(line)
}

// socket forwards the texts of a WebSocket.
func (p *proxy) socket(w http.ResponseWriter, in *http.Request) {
	address := "ws" + strings.TrimPrefix(p.broker, "http") + in.URL.RequestURI()
	broker, _, err := websocket.DefaultDialer.DialContext(in.Context(), address, nil)
	if err != nil {
		return
	}
	defer broker.Close()
	client, err := (&websocket.Upgrader{}).Upgrade(w, in, nil)
	if err != nil {
		return
	}
	defer client.Close()

	var writing sync.Mutex // to the client
	write := func(text []byte) {
		writing.Lock()
		defer writing.Unlock()
		_ = client.WriteMessage(websocket.TextMessage, text)
	}
	go func() {
		defer client.Close()
		for _, text, err := broker.ReadMessage(); err == nil; _, text, err = broker.ReadMessage() {
			write(text)
		}
	}()
	for _, text, err := client.ReadMessage(); err == nil; _, text, err = client.ReadMessage() {
		if reply := p.replyTo(string(text)); reply != "" {
			write([]byte(reply))
			continue
		}
		_ = broker.WriteMessage(websocket.TextMessage, text)
	}
}

// replyTo returns the answer of the bugs to a text, "" to have it forwarded.
func (p *proxy) replyTo(text string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.socketText == nil {
		return ""
	}
	return p.socketText(text)
}

// send sends a request to the broker.
func (p *proxy) send(
	ctx context.Context, method, path, body string, header http.Header,
) (*http.Response, error) {
	out, err := http.NewRequestWithContext(ctx, method, p.broker+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	out.Header = header.Clone()
	return p.client.Do(out)
}
