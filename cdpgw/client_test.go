package cdpgw

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"clipper/bus"
)

func TestMethods(t *testing.T) {
	g := start(t, Options{Discovery: true, Title: "app"})
	play(t, g, "h2-get", "h1-post", "verdicts", "media")
	p := attach(t, g)
	for _, c := range []struct {
		method string
		params any
		want   string // the result, or the error
	}{
		{"Network.setCacheDisabled", map[string]any{"cacheDisabled": true}, `{}`},
		{"Debugger.enable", nil, `{"debuggerId":"clipper"}`},
		{"Network.emulateNetworkConditionsByRule", map[string]any{}, `{"ruleIds":[]}`},
		{"Runtime.getIsolateId", nil, `{"id":"clipper"}`},
		{"Network.getResponseBody", map[string]any{"requestId": "000000000000000a.3"}, `{"body":"{\"id\":3}","base64Encoded":false}`},
		{"Network.getRequestPostData", map[string]any{"requestId": "000000000000000a.3"}, `{"postData":"{\"name\":\"Linus\",\"admin\":0}\n","base64Encoded":false}`},
		{"Network.getRequestPostData", map[string]any{"requestId": "000000000000000a.1"}, `-32000 No post data available for the request`},
		{"Network.getResponseBody", map[string]any{"requestId": "nothing"}, `-32000 No resource with given identifier found`},
		{"Network.getResponseBody", map[string]any{"requestId": 7}, `-32602 Invalid parameters: `},
		{"Network.getResponseBody", nil, `-32602 Invalid parameters: `},
		{"Network.searchInResponseBody", map[string]any{"requestId": "000000000000000a.1", "query": "gRACE"}, `{"result":[{"lineNumber":0,"lineContent":"{\"users\":`},
		{"Network.searchInResponseBody", map[string]any{"requestId": "000000000000000a.1", "query": "gRACE", "caseSensitive": true}, `{"result":[]}`},
		{"Network.searchInResponseBody", map[string]any{"requestId": "0000000000000019.3", "query": "^cons.le", "isRegex": true}, `{"result":[{"lineNumber":1,"lineContent":"console.log(f(1));"}]}`},
		{"Network.searchInResponseBody", map[string]any{"requestId": "000000000000000a.1", "query": "(", "isRegex": true}, `-32602 can't search for this expression`},
		{"Network.getResponseBody", map[string]any{"requestId": "0000000000000014.c"}, `-32000 Clipper can't show what was said`},
		{"Debugger.getScriptSource", map[string]any{"scriptId": "4242"}, `{"scriptSource":"// curl [pid 4242]\n// command     curl -s '`},
		{"Network.getCertificate", map[string]any{"origin": "https://api.example.test"}, `{"tableNames":["MII`},
		{"Network.getCertificate", map[string]any{"origin": "https://none.test"}, `{"tableNames":[]}`},
		{"Page.navigate", map[string]any{"url": "http://x"}, `-32601 'Page.navigate' wasn't found`},
		{"Target.getTargetInfo", nil, `{"targetInfo":{"attached":true,`},
		{"Target.attachToTarget", map[string]any{"targetId": "x"}, `-32602 No target with given id found`},
	} {
		r := p.call(c.method, c.params)
		got := string(r.Result)
		if r.Error != nil {
			got = fmt.Sprintf("%d %s", r.Error.Code, r.Error.Message)
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s %v:\n got %s\nwant %s", c.method, c.params, got, c.want)
		}
	}
	var png struct {
		Body          []byte
		Base64Encoded bool
	}
	if err := json.Unmarshal(p.call("Network.getResponseBody", map[string]any{"requestId": "0000000000000019.1"}).Result, &png); err != nil || !png.Base64Encoded || !bytes.HasPrefix(png.Body, []byte("\x89PNG")) {
		t.Errorf("image: %v %v", err, png.Base64Encoded)
	}
}

func TestMalformedCalls(t *testing.T) {
	g := start(t, Options{})
	p := attach(t, g)
	for raw, code := range map[string]int{
		`{`: codeParse, `[]`: codeParse, `"x"`: codeParse, `{"id":"a","method":"x"}`: codeParse, `{"id":1}`: codeInvalid, `{"method":"Network.enable"}`: codeInvalid,
		`{"id":1,"method":"Network.enable","sessionId":"none"}`: codeNoTarget, `{"id":1,"method":"Network.enable","params":[1]}`: codeParams,
		`null`: codeInvalid, "\x00": codeParse, `{"id":1,"method":"` + strings.Repeat("x", 1000) + `"}`: codeMethod,
	} {
		p.send(raw)
		if m := p.read(); m.Error == nil || m.Error.Code != code {
			t.Errorf("%.60q: %+v, want %d", raw, m.Error, code)
		}
	}
	if r := p.call("Runtime.getIsolateId", nil); r.Error != nil {
		t.Error("the session did not survive:", r.Error)
	}
}

// A client that attaches late gets everything in order; with the debugger it
// gets the processes before what they did.
func TestReplay(t *testing.T) {
	g := start(t, Options{Discovery: true})
	play(t, g, "h2-get")
	p := attach(t, g)
	p.call("Network.enable", nil)
	var got []string
	for range 6 {
		m := p.read()
		got = append(got, strings.TrimPrefix(m.Method, "Network."))
	}
	want := "requestWillBeSent requestWillBeSentExtraInfo responseReceivedExtraInfo responseReceived dataReceived loadingFinished"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v", got)
	}
	q := attach(t, g)
	q.call("Debugger.enable", nil)
	q.call("Network.enable", nil)
	for _, url := range []string{"process://4100/bash", "process://4242/curl"} {
		if m := q.event("Debugger.scriptParsed"); !strings.Contains(string(m.Params), url) {
			t.Errorf("script: %s", m.Params)
		}
	}
	began := time.Now()
	q.event("Network.requestWillBeSent")
	if d := time.Since(began); d < frontendDelay/2 {
		t.Errorf("a foreign DevTools got its history after %v, before its panel exists", d)
	}
	// And live:
	play(t, g, "h1-post")
	if m := q.event("Debugger.scriptParsed"); !strings.Contains(string(m.Params), "python3.13") {
		t.Errorf("script: %s", m.Params)
	}
	q.event("Network.loadingFinished")
}

// Targets of one process and of one page of the history.
func TestScopes(t *testing.T) {
	g := start(t, Options{MaxHistory: 10})
	play(t, g, "h1-post")
	for n := range 25 {
		exchange(g, n, "x")
	}
	ids := func(path string, n int) (out []string) {
		p := dial(t, g, "/devtools/page/"+secret+path)
		p.call("Network.enable", nil)
		for range n {
			var r struct{ RequestID string }
			_ = json.Unmarshal(p.event("Network.requestWillBeSent").Params, &r)
			out = append(out, r.RequestID)
		}
		return out
	}
	if got := ids("-pid-5151", 2); got[0] != "000000000000000b.1" || got[1] != "000000000000000b.2" {
		t.Errorf("process: %v", got)
	}
	if got := ids("-page-1", 10); got[0] != "000000000000000b.1" || got[9] != exchangeID(7) {
		t.Errorf("first page: %v", got)
	}
	if got := ids("-page-2", 10); got[0] != exchangeID(8) || got[9] != exchangeID(17) {
		t.Errorf("second page: %v", got)
	}
	if got := ids("", 11); got[0] != "omitted" || got[1] != exchangeID(15) || got[10] != exchangeID(24) {
		t.Errorf("newest: %v", got)
	}
}

// A client that never reads holds nobody up.
func TestStuckClient(t *testing.T) {
	g := start(t, Options{MaxHistory: 100000})
	stuck := attach(t, g)
	stuck.send(`{"id":1,"method":"Network.enable"}`)
	const n = 5000
	for i := range n {
		exchange(g, i, strings.Repeat("b", 100))
	}
	for range 300 { // fill its queue of answers, too
		stuck.send(`{"id":2,"method":"Network.getResponseBody","params":{"requestId":"` + exchangeID(1) + `"}}`)
	}
	p := attach(t, g)
	p.call("Network.enable", nil)
	for i := range n {
		if m := p.event("Network.loadingFinished"); !strings.Contains(string(m.Params), exchangeID(i)) {
			t.Fatalf("exchange %d: %s", i, m.Params)
		}
	}
	if r := p.call("Network.getResponseBody", map[string]any{"requestId": exchangeID(n - 1)}); r.Error != nil {
		t.Error(r.Error)
	}
}

// The bytes of a streamed response come exactly once, whatever races.
func TestStreamResourceContent(t *testing.T) {
	g := start(t, Options{})
	c := bus.ConnID(9)
	line := func(e *bus.Event) {
		e.Conn, e.Stream, e.Time = c, 1, 1795426714e9
		g.Process(&bus.Record{Layer: bus.HTTP, Type: bus.Line, Conn: c, Event: e})
	}
	line(&bus.Event{Type: bus.EventConnection, Connection: &bus.Connection{Flow: bus.Flow{Transport: "tcp"}, TLS: &bus.TLSInfo{PID: 1}}})
	line(&bus.Event{Type: bus.EventRequest, Request: &bus.Request{Method: "GET", URL: "https://x.test/"}})
	line(&bus.Event{Type: bus.EventResponse, Response: &bus.Response{Status: 200}})
	g.Flush()
	const chunks, size = 400, 1000
	var want bytes.Buffer
	var all [][]byte
	for i := range chunks {
		b := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, size/2)
		all = append(all, b)
		want.Write(b)
	}
	go func() {
		off := uint64(0)
		for _, b := range all {
			line(&bus.Event{Type: bus.EventData, Dir: bus.ServerToClient, Data: &bus.BodyData{Offset: off, Decoded: size, Wire: size}})
			g.Process(&bus.Record{Layer: bus.Body, Type: bus.BodyBytes, Conn: c, Stream: 1, Dir: bus.ServerToClient, Offset: off, Payload: b})
			off += size
			time.Sleep(50 * time.Microsecond)
		}
	}()
	p := attach(t, g)
	p.call("Network.enable", nil)
	var first struct{ BufferedData []byte }
	_ = json.Unmarshal(p.call("Network.streamResourceContent", map[string]any{"requestId": c.String() + ".1"}).Result, &first)
	got := first.BufferedData
	p.events = nil // nothing with data comes before the answer
	for len(got) < chunks*size {
		var d struct {
			Data       string
			DataLength int
		}
		_ = json.Unmarshal(p.event("Network.dataReceived").Params, &d)
		if d.Data != "" && d.DataLength != 0 {
			t.Fatal("streamed bytes count twice")
		}
		got = append(got, must(base64.StdEncoding.DecodeString(d.Data))...)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("the stream differs from the body")
	}
}

// A body that comes after its announcement is waited for.
func TestLateBody(t *testing.T) {
	g := start(t, Options{})
	c := bus.ConnID(9)
	line := func(e *bus.Event) {
		e.Conn, e.Stream = c, 1
		g.Process(&bus.Record{Layer: bus.HTTP, Type: bus.Line, Conn: c, Event: e})
	}
	line(&bus.Event{Type: bus.EventRequest, Request: &bus.Request{Method: "GET", URL: "https://x.test/"}})
	line(&bus.Event{Type: bus.EventResponse, Response: &bus.Response{Status: 200}})
	line(&bus.Event{Type: bus.EventEnd, Dir: bus.ServerToClient, End: &bus.MessageEnd{Decoded: 5, Wire: 5}})
	p := attach(t, g)
	p.next++
	p.send(fmt.Sprintf(`{"id":%d,"method":"Network.getResponseBody","params":{"requestId":%q}}`, p.next, c.String()+".1"))
	go func() {
		time.Sleep(50 * time.Millisecond)
		g.Process(&bus.Record{Layer: bus.Body, Type: bus.BodyBytes, Conn: c, Stream: 1, Dir: bus.ServerToClient, Payload: []byte("hello")})
	}()
	if m := p.read(); !strings.Contains(string(m.Result), `"hello"`) {
		t.Errorf("%+v", m)
	}
}

func TestEvictedBody(t *testing.T) {
	g := start(t, Options{BodyMemory: 10 << 10, BodyDisk: 50 << 10})
	for n := range 100 {
		exchange(g, n, strings.Repeat("x", 1<<10))
	}
	p := attach(t, g)
	if r := p.call("Network.getResponseBody", map[string]any{"requestId": exchangeID(0)}); r.Error == nil || !strings.Contains(r.Error.Message, "no longer kept") {
		t.Errorf("oldest: %+v", r)
	}
	for _, n := range []int{60, 99} { // from the file, from memory
		if r := p.call("Network.getResponseBody", map[string]any{"requestId": exchangeID(n)}); len(r.Result) < 1<<10 {
			t.Errorf("%d: %+v", n, r)
		}
	}
}

// Clients of the browser's endpoint find the target and attach to it.
func TestBrowserEndpoint(t *testing.T) {
	g := start(t, Options{Discovery: true, Title: "app"})
	play(t, g, "h2-get")
	p := dial(t, g, "/devtools/browser/"+secret)
	p.call("Browser.getVersion", nil)
	p.call("Target.setDiscoverTargets", map[string]any{"discover": true})
	var created struct {
		TargetInfo struct{ TargetID, Type string }
	}
	_ = json.Unmarshal(p.event("Target.targetCreated").Params, &created)
	var s struct{ SessionID string }
	_ = json.Unmarshal(p.call("Target.attachToTarget", map[string]any{"targetId": created.TargetInfo.TargetID, "flatten": true}).Result, &s)
	if r := p.callIn(s.SessionID, "Network.enable", nil); r.SessionID != s.SessionID {
		t.Errorf("answer of session %q", r.SessionID)
	}
	if m := p.event("Network.loadingFinished"); m.SessionID != s.SessionID {
		t.Errorf("event of session %q", m.SessionID)
	}
	p.call("Target.detachFromTarget", map[string]any{"sessionId": s.SessionID})
	if r := p.callIn(s.SessionID, "Network.enable", nil); r.Error == nil || r.Error.Code != codeNoTarget {
		t.Errorf("a detached session answers: %+v", r)
	}
}

func TestStatus(t *testing.T) {
	told := make(chan Status, 100)
	g := start(t, Options{OnStatus: func(s Status) { told <- s }})
	p := attach(t, g)
	p.call("Network.enable", nil)
	if s := <-told; s.Clients != 1 || !s.EverAttached {
		t.Errorf("attached: %+v", s)
	}
	p.ws.Close()
	if s := <-told; s.Clients != 0 || !s.EverAttached {
		t.Errorf("left: %+v", s)
	}
}
