package cdp

import (
	"encoding/json"
	"testing"

	"clipper/bus"
)

func TestHeaders(t *testing.T) {
	for want, h := range map[string]Headers{
		`{}`:                                    nil,
		`{"zebra":"1","Alpha":"2","alpha":"3"}`: {{Name: "zebra", Value: "1"}, {Name: "Alpha", Value: "2"}, {Name: "alpha", Value: "3"}},
		`{"a":"1\n3","b":"2"}`:                  {{Name: "a", Value: "1"}, {Name: "b", Value: "2"}, {Name: "a", Value: "3"}},
		`{"x":"café \u003c\u0000","y\"":"caf\u00e9"}`: {{Name: "x", Value: "café <\x00"}, {Name: "y\"", Value: "caf\xe9"}},
	} {
		b, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		var got, expected any
		_ = json.Unmarshal([]byte(want), &expected)
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		g, _ := json.Marshal(got)
		e, _ := json.Marshal(expected)
		if string(g) != string(e) {
			t.Errorf("got %s, want %s", b, want)
		}
	}
	order := Headers{{Name: "zebra", Value: "1"}, {Name: "alpha", Value: "2"}}
	if b, _ := json.Marshal(order); string(b) != `{"zebra":"1","alpha":"2"}` {
		t.Errorf("order: %s", b)
	}
	h := Headers{{Name: "Accept", Value: "text/html, Text/Event-Stream"}}
	if !h.Has("accept", "text/event-stream") || h.Has("accept", "text") || h.Get("ACCEPT") == "" {
		t.Error("Has, Get")
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add("a", "b", "A", "\xff\n")
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2 string) {
		b, err := json.Marshal(Headers([]bus.Field{{Name: n1, Value: v1}, {Name: n2, Value: v2}, {Name: n1, Value: v2}}))
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]string
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
	})
}
