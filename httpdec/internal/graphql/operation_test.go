package graphql

import "testing"

func TestRequest(t *testing.T) {
	for _, c := range []struct{ in, name, kind string }{
		{`{"query":"query GetUser($id: ID!) { user(id: $id) { name } }","variables":{"id":1}}`, "GetUser", "query"},
		{`{"operationName":"B","query":"query A { a } mutation B { b }"}`, "B", "mutation"},
		{`{"query":"{ me { name } }"}`, "", "query"},
		{`{"query":"# query X { }\n  subscription S{s}"}`, "S", "subscription"},
		{`{"query":"fragment F on User { query } query Q { ...F }"}`, "Q", "query"},
		{`[{"query":"mutation M { m }"},{"query":"{x}"}]`, "M", "mutation"},
		{`{"query":"query Cut { a }","variables":{"long":"`, "Cut", "query"},
		{`{"operationName":"P","extensions":{"persistedQuery":{"sha256Hash":"x"}}}`, "P", ""},
		{`{"query":"query Q(\"a { b\" \"\"\" query X \"\"\") { a }"}`, "Q", "query"},
	} {
		o, ok := Request([]byte(c.in))
		if !ok || o.Name != c.name || o.Type != c.kind {
			t.Errorf("%s: %+v %v", c.in, o, ok)
		}
	}
	for _, in := range []string{"", "[", "{", "null", `{"query":"shoes"}`, `{"query":5}`, `{"query":"SELECT { }"}`, `{"a":1}`, `{"query":"query"}`, `[[]]`} {
		if o, ok := Request([]byte(in)); ok {
			t.Errorf("%s: %+v", in, o)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"query":"query A { a }"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		Request(b)
		Query(string(b), "a")
	})
}
