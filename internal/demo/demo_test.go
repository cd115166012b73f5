package demo

import (
	"bytes"
	"strings"
	"testing"
)

func TestClientMeetsServer(t *testing.T) {
	s, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var out bytes.Buffer
	if err := Run(t.Context(), s.URL, s.CA, &out); err != nil {
		t.Fatal(err)
	}
	one := `GET /users.json?page=1 200 OK: N bytes
GET /picture.png 200 OK: N bytes
POST /orders 201 Created: N bytes
POST /orders 201 Created: N bytes
GET /old 200 OK: N bytes
GET /missing 404 Not Found: N bytes
GET /page 200 OK: N bytes
GET /slow 200 OK: N bytes
`
	var got strings.Builder
	for line := range strings.Lines(out.String()) {
		head, _, _ := strings.Cut(line, ": ")
		got.WriteString(head + ": N bytes\n")
	}
	if got.String() != one+one {
		t.Errorf("the demo printed\n%s\nwant twice\n%s", got.String(), one)
	}
}
