package har

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Valid checks a file against the published schema of HAR 1.2, har-schema 2.0.0
// of https://github.com/ahmadnassri/har-schema.
func Valid(t testing.TB, file []byte) {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	files, err := filepath.Glob("testdata/har-schema/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no schema", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err == nil {
			err = c.AddResource(filepath.Base(name), s)
		}
		if err != nil {
			t.Fatal(name, err)
		}
	}
	s, err := c.Compile("har.json")
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
	if err == nil {
		err = s.Validate(v)
	}
	if err != nil {
		t.Errorf("not as the schema of HAR 1.2 wants it: %v", err)
	}
}

// TestSchema makes sure that the schema finds something.
func TestSchema(t *testing.T) {
	entry := `{"startedDateTime":"2026-01-02T03:04:05Z","time":1,"cache":{},"timings":{"send":0,"wait":0,"receive":1},
		"request":{"method":"GET","url":"http://a.test/","httpVersion":"HTTP/1.1","cookies":[],"headers":[],"queryString":[],"headersSize":1,"bodySize":0},
		"response":{"status":STATUS,"statusText":"","httpVersion":"","cookies":[],"headers":[],"content":{"size":0,"mimeType":""},"redirectURL":"","headersSize":1,"bodySize":0}}`
	file := func(status string) []byte {
		return []byte(`{"log":{"version":"1.2","creator":{"name":"a","version":"1"},"entries":[` + string(bytes.Replace([]byte(entry), []byte("STATUS"), []byte(status), 1)) + `]}}`)
	}
	Valid(t, file("200"))
	var bad recordedErrors
	bad.TB = t
	Valid(&bad, file(`"200"`))
	if bad.n != 1 {
		t.Errorf("a status that is a string: %d errors", bad.n)
	}
}

// recordedErrors counts errors instead of failing.
type recordedErrors struct {
	testing.TB
	n int
}

func (r *recordedErrors) Errorf(string, ...any) { r.n++ }
