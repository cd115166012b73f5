package integration

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDemo(t *testing.T) {
	everybody(t, func(t *testing.T, w who) {
		har := filepath.Join(w.dir(t), "out.har")
		r := run(t, w, "demo", "--har", har)
		if r.code != 0 {
			t.Fatalf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
		}
		var seen []string
		for _, e := range readHAR(t, har).Log.Entries {
			_, path, _ := strings.Cut(strings.TrimPrefix(e.Request.URL, "https://"), "/")
			seen = append(seen, fmt.Sprintf("%s %s /%s %d %s", e.Request.HTTPVersion, e.Request.Method, path, e.Response.Status, e.Response.Content.MimeType))
		}
		one := []string{
			"GET /users.json?page=1 200 application/json", "GET /picture.png 200 image/png", "POST /orders 201 application/json", "POST /orders 201 application/json",
			"GET /old 302 text/html; charset=utf-8", "GET /users.json 200 application/json", "GET /missing 404 text/plain; charset=utf-8",
			"GET /page 200 text/html; charset=utf-8", "GET /slow 200 text/plain; charset=utf-8",
		}
		var want []string
		for _, proto := range []string{"HTTP/1.1", "HTTP/2"} {
			for _, line := range one {
				want = append(want, proto+" "+line)
			}
		}
		if !slices.Equal(seen, want) {
			t.Errorf("the HAR has\n%s\nwant\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
		}
		if n := strings.Count(r.stderr, "demo-client"); n < len(want) && strings.Count(r.stderr, "\n") < len(want) {
			t.Errorf("%d request lines:\n%s", n, r.stderr)
		}
		nothingLeft(t, r)
	})
}
