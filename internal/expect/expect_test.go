package expect

import (
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"clipper/bus"
	"clipper/httpdec/exchange"
	"clipper/internal/filter"
)

func get(path string, status int) *exchange.Exchange {
	return &exchange.Exchange{Request: &bus.Request{Method: "GET", URL: "http://a/" + path}, RequestTime: 1, RequestEnded: 1,
		Response: &bus.Response{Status: status}, ResponseTime: 1, ResponseEnded: 2_000_001, Process: exchange.Process{PID: 7, Argv: []string{"/bin/app"}}}
}

// judge runs rules over a few exchanges and a verdict.
func judge(t *testing.T, rules []string, all ...*exchange.Exchange) (*Expectations, bool, string) {
	t.Helper()
	e, err := New(rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range all {
		e.Exchange(filter.OfExchange(x), x)
	}
	v := &exchange.Verdict{Conn: 1, Verdict: bus.Verdict{Code: bus.VerdictNoSecret}}
	e.Verdict(v)
	e.Verdict(v)
	held := e.Finish()
	var b strings.Builder
	e.Report(&b)
	return e, held, b.String()
}

func TestRulesThatHold(t *testing.T) {
	_, held, report := judge(t, []string{`status < 500`, `size(exchanges) == 2 && size(verdicts) == 1`}, get("", 200), get("", 404))
	if !held || report != "expect: 2 rules kept by 2 exchanges\n" {
		t.Errorf("%v %q", held, report)
	}
}

func TestReport(t *testing.T) {
	many := []*exchange.Exchange{get("\x1b[2J", 500)}
	for range 12 {
		many = append(many, get("x", 502))
	}
	_, held, report := judge(t, []string{`status < 500`, `method == "GET"`, `exchanges.exists(e, e.path == "/login")`, `1 / (status - 502) < 5`}, many...)
	want := "expect: 3 of 4 rules broken (13 exchanges seen)\n" +
		"  BROKEN  status < 500\n" +
		"            GET http://a/\uFFFD[2J -> 500, 2ms, app[7]\n" +
		strings.Repeat("            GET http://a/x -> 502, 2ms, app[7]\n", 9) +
		"            and 3 more\n" +
		"  holds   method == \"GET\"\n" +
		"  BROKEN  exchanges.exists(e, e.path == \"/login\")\n" +
		"            it is false for the exchanges together\n" +
		"  BROKEN  1 / (status - 502) < 5\n" +
		"            it could not be evaluated: division by zero\n" +
		strings.Repeat("            GET http://a/x -> 502, 2ms, app[7]\n", 10) +
		"            and 2 more\n"
	if held || report != want {
		t.Errorf("%v\n%s\nwant\n%s", held, report, want)
	}
}

// TestBodiesAreBounded: a rule over more bodies than are kept is broken, and says so;
// others are not concerned.
func TestBodiesAreBounded(t *testing.T) {
	e, err := New([]string{`exchanges.all(e, e.response.body != "")`, `size(exchanges) > 1000`})
	if err != nil {
		t.Fatal(err)
	}
	row := filter.OfExchange(get("", 200))
	row.Bodies[1] = strings.Repeat("a", filter.MaxBody)
	for range MaxBodies/filter.MaxBody + 1 {
		e.Exchange(row, row.Exchange)
	}
	held := e.Finish()
	var b strings.Builder
	e.Report(&b)
	if held || !strings.Contains(b.String(), "the bodies have more than 64 MiB") || !strings.Contains(b.String(), "holds   size") {
		t.Errorf("%v\n%s", held, b.String())
	}
}

func TestJUnit(t *testing.T) {
	e, _, _ := judge(t, []string{`status < 500`, `"<&\u0001" != ""`, `size(exchanges) > 5`, `1 / (status - 500) > 0`}, get("\x01", 500))
	var b strings.Builder
	if err := e.JUnit(&b, time.Unix(0, 0), 1500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	var got junitSuites
	if err := xml.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatalf("%v in %s", err, b.String())
	}
	s := got.Suite
	if s.Tests != 4 || s.Failures != 2 || s.Errors != 1 || s.Time != "1.500" || s.Timestamp != "1970-01-01T00:00:00" || len(s.Cases) != 4 {
		t.Errorf("%+v", s)
	}
	if f := s.Cases[0].Failure; f == nil || f.Message != "broken by 1 exchange" || !strings.Contains(f.Text, "-> 500") {
		t.Errorf("%+v", s.Cases[0])
	}
}

func TestWrongRule(t *testing.T) {
	if _, err := New([]string{"status < 500", "statsu < 500"}); err == nil || !strings.Contains(err.Error(), "do you mean status?") {
		t.Errorf("New = %v", err)
	}
}
