package filter

import (
	"net/netip"
	"strings"
	"testing"

	"clipper/bus"
	"clipper/httpdec/exchange"
)

// row is the shared fixture: a GET of one page, answered after 1.5 s.
func row() Row {
	return OfExchange(&exchange.Exchange{
		Conn: 0xabc, Stream: 1,
		Request: &bus.Request{Method: "GET", URL: "https://API.example.com:8443/v1/items?page=2&q=a+b", Proto: "h2",
			Headers: []bus.Field{{Name: "Accept", Value: "a"}, {Name: "accept", Value: "b"}}},
		RequestTime: 1_000_000_000, RequestEnded: 1_000_000_000,
		Response:     &bus.Response{Status: 404, Headers: []bus.Field{{Name: "Content-Type", Value: "Application/JSON; charset=utf-8"}}},
		ResponseTime: 2_000_000_000, ResponseEnded: 2_500_000_000,
		Wire: [2]uint64{7, 1234},
		Connection: bus.Connection{Flow: bus.Flow{Client: netip.MustParseAddrPort("10.0.2.100:4000"), Server: netip.MustParseAddrPort("192.0.2.1:8443")},
			TLS: &bus.TLSInfo{Version: "TLS 1.3", SNI: "api.example.com"}},
		Process: exchange.Process{PID: 42, Exe: "/usr/bin/curl", Argv: []string{"curl", "-s"}},
	})
}

// verdict is a connection that cannot be read.
func verdict() Row {
	return OfVerdict(&exchange.Verdict{Conn: 1, Verdict: bus.Verdict{Code: bus.VerdictNoSecret, Reason: "no secret came"},
		Connection: bus.Connection{Flow: bus.Flow{Server: netip.MustParseAddrPort("192.0.2.9:443")}}})
}

func TestNamesOfAnExchange(t *testing.T) {
	for _, expr := range []string{
		`method == "GET"`, `scheme == "https"`, `host == "api.example.com"`, `host.endsWith(".example.com")`, `port == 8443`,
		`path == "/v1/items"`, `path.matches("^/v[0-9]/")`, `query["page"] == "2" && query["q"] == "a b" && query["none"] == ""`,
		`url.contains("items")`, `status >= 400 && status < 500`, `size == 1234`, `size > 1e3`, `duration > duration("1.4s")`, `ms > 1499 && ms <= 1500`,
		`time < timestamp("1970-01-01T00:00:02Z")`, `mime == "application/json"`, `protocol == "h2"`, `tls == "TLS 1.3"`, `!failed && error == "" && verdict == ""`,
		`process == "curl" && pid == 42 && command == "curl -s"`, `client == "10.0.2.100:4000" && server == "192.0.2.1:8443"`, `connection == "0000000000000abc"`,
		`request.headers["ACCEPT"] == "a, b"`, `"accept" in request.headers && !("cookie" in request.headers)`, `request.headers["cookie"] == ""`, `request.headers.accept.startsWith("a")`,
		`response.headers["content-type"].contains("JSON") && request.size == 7 && response.size == 1234`,
		`status in [404, 410] ? method.lowerAscii() == "get" : false`, `math.greatest(status, port) == 8443`, `request.headers.exists(n, n == "accept")`,
	} {
		f, err := Compile("--filter", expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		if ok, err := f.Match(row()); !ok || err != nil {
			t.Errorf("%s = %v, %v", expr, ok, err)
		}
	}
}

func TestBodies(t *testing.T) {
	r := row()
	r.Bodies = [2]string{"name=clipper", `{"error": "none"}`}
	f, err := Compile("--filter", `request.body == "name=clipper" && response.body.matches("\"error\": *\"none\"")`)
	if err != nil || !f.Uses(Body) {
		t.Fatalf("%v, it uses a body: %v", err, f.Uses(Body))
	}
	if ok, err := f.Match(r); !ok || err != nil {
		t.Errorf("Match = %v, %v", ok, err)
	}
	for name, expr := range map[string]string{"a large body is looked through": `!response.body.contains("b") && !response.body.matches("(a|b)*c")`} {
		r.Bodies[1] = strings.Repeat("a", MaxBody)
		f, err := Compile("--filter", expr)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := f.Match(r); !ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
}

func TestConnectionWithoutAnExchange(t *testing.T) {
	for _, expr := range []string{`verdict == "no-secret"`, `host == "192.0.2.9"`, `failed && status == 0 && method == "" && url == "" && path == ""`, `request.headers["a"] == "" && mime == ""`} {
		f, err := Compile("--filter", expr)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := f.Match(verdict()); !ok || err != nil {
			t.Errorf("%s = %v, %v", expr, ok, err)
		}
	}
}

func TestEmptyFilterLetsAllPass(t *testing.T) {
	f, err := Compile("--filter", "")
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := f.Match(row()); !ok || err != nil {
		t.Errorf("Match = %v, %v", ok, err)
	}
}

func TestMistakes(t *testing.T) {
	for expr, want := range map[string]string{
		`statu >= 400`:                    "there is no name \"statu\" (do you mean status?)\n    statu >= 400\n    ^\n  names:   method, url",
		`request.header["a"] == "b"`:      "there is no field \"header\" (do you mean headers?)\n    request.header[\"a\"] == \"b\"\n           ^",
		`status >= "400"`:                 ">= does not go with values of the types int and string",
		`status`:                          "this is a value of the type int; something that is true or false is needed",
		`host = "a"`:                      "a comparison is written with ==",
		`status >=`:                       "this cannot be understood",
		`!status`:                         "! needs something that is true or false, not a value of the type int",
		`host == "a" and status == 1`:     "this cannot be understood",
		`exchanges.all(e, e.status == 1)`: "there is no name \"exchanges\"",
		strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200): "recursion",
		`status == 1 || ` + strings.Repeat(" ", 20_000):              "size",
	} {
		_, err := Compile("--filter", expr)
		if err == nil {
			t.Errorf("%.60s was accepted", expr)
			continue
		}
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "example: --filter") || !strings.Contains(err.Error(), "mime") {
			t.Errorf("%.60s: %v\nwant %q", expr, err, want)
		}
	}
}

// TestWorkIsBounded: what would take too long ends with an error.
func TestWorkIsBounded(t *testing.T) {
	list := "[" + strings.Repeat("1,", 99) + "1]"
	f, err := Compile("--filter", list+".all(a, "+list+".all(b, "+list+".all(c, "+list+".all(d, a+b+c+d == 4 && status > 0))))")
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := f.Match(row()); ok || err == nil || !strings.Contains(err.Error(), "cost") {
		t.Errorf("Match = %v, %v", ok, err)
	}
}

func TestUses(t *testing.T) {
	f, err := Compile("--filter", `host == "a" && process == "curl"`)
	if err != nil {
		t.Fatal(err)
	}
	if !f.Uses("pid", "process") || f.Uses("status") {
		t.Error("Uses is wrong")
	}
}

func TestRules(t *testing.T) {
	all := []Row{row(), row(), row()}
	for text, want := range map[string]bool{
		`exchanges.all(e, e.status < 500)`:                           true,
		`exchanges.exists(e, e.path == "/login")`:                    false,
		`exchanges.filter(e, e.status == 404).size() == 3`:           true,
		`size(exchanges) == 3 && size(verdicts) == 1`:                true,
		`verdicts.all(v, v.verdict != "no-secret")`:                  false,
		`exchanges.all(e, e.request.headers["accept"] == "a, b")`:    true,
		`math.greatest(exchanges.map(e, e.ms)) < 2000.0`:             true,
		`exchanges.exists_one(e, e.response.size == 1234)`:           false,
		`exchanges.map(e, e.host).all(h, h.endsWith("example.com"))`: true,
	} {
		r, err := CompileRule(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if ok, err := r.HoldsForAll(all, []Row{verdict()}); ok != want || err != nil {
			t.Errorf("%s = %v, %v, want %v", text, ok, err, want)
		}
	}
	r, err := CompileRule(`status < 400`)
	if err != nil || r.About() {
		t.Fatalf("%v, about all: %v", err, r.About())
	}
	if ok, err := r.Holds(row()); ok || err != nil {
		t.Errorf("Holds = %v, %v", ok, err)
	}
	for text, want := range map[string]string{
		`exchanges.all(e, e.statu < 500)`: `there is no field "statu" (do you mean status?)`,
		`exchangess.all(e, true)`:         `do you mean exchanges?`,
		`size(exchanges)`:                 "something that is true or false is needed",
	} {
		if _, err := CompileRule(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{`status >= 400`, `request.headers["a"] == "b"`, `exchanges.all(e, e.ms > 1)`, "\x00", `"a`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := Compile("--filter", s); err == nil {
			p.Match(row())
			p.Match(verdict())
		}
	})
}
