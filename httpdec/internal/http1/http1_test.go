package http1

import (
	"bytes"
	"strings"
	"testing"

	"clipper/bus"
)

func TestHeadEnd(t *testing.T) {
	for _, head := range []string{"GET / HTTP/1.1\r\nA: b\r\n\r\n", "GET / HTTP/1.1\nA: b\n\n", "A\r\n\n", "A\n\r\n"} {
		for rest := range 3 {
			b := []byte(head + "\r\n\r"[:rest])
			for from := range head { // any cut before the end must resume to the same place
				n, resume := HeadEnd(b[:from], 0)
				if n != 0 {
					t.Errorf("%q ends at %d", b[:from], n)
				}
				if n, _ := HeadEnd(b, resume); n != len(head) {
					t.Errorf("%q cut at %d: ends at %d, want %d", b, from, n, len(head))
				}
			}
		}
	}
}

func TestRequestLine(t *testing.T) {
	for _, c := range []struct {
		line string
		want RequestLine
		ok   bool
	}{
		{"GET / HTTP/1.1", RequestLine{"GET", "/", "HTTP/1.1"}, true},
		{"M-SEARCH * HTTP/1.0", RequestLine{"M-SEARCH", "*", "HTTP/1.0"}, true},
		{"GET /a b c HTTP/1.1", RequestLine{"GET", "/a b c", "HTTP/1.1"}, true},
		{"GET  /  HTTP/1.1 ", RequestLine{"GET", "/", "HTTP/1.1"}, true},
		{"GET /old", RequestLine{"GET", "/old", ""}, true},
		{"GET HTTP/1.1", RequestLine{"GET", "", "HTTP/1.1"}, true},
		{"POST /old", RequestLine{}, false},
		{"GET", RequestLine{}, false},
		{"", RequestLine{}, false},
		{"G{T / HTTP/1.1", RequestLine{}, false},
		{"GET / HTTP/2.0", RequestLine{}, false},
	} {
		got, err := ParseRequestLine(c.line)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%q: %+v, %v", c.line, got, err)
		}
	}
}

func TestStatusLine(t *testing.T) {
	for _, c := range []struct {
		line string
		want StatusLine
		ok   bool
	}{
		{"HTTP/1.1 200 OK", StatusLine{"HTTP/1.1", 200, "OK"}, true},
		{"HTTP/1.0 404 Not  Found ", StatusLine{"HTTP/1.0", 404, "Not  Found "}, true},
		{"HTTP/1.1 200", StatusLine{"HTTP/1.1", 200, ""}, true},
		{"HTTP/1.1 200 ", StatusLine{"HTTP/1.1", 200, ""}, true},
		{"HTTP/1.1  999 x", StatusLine{"HTTP/1.1", 999, "x"}, true},
		{"HTTP/1.1 20", StatusLine{}, false},
		{"HTTP/1.1 2000", StatusLine{}, false},
		{"HTTP/2.0 200 OK", StatusLine{}, false},
		{"ICY 200 OK", StatusLine{}, false},
	} {
		got, err := ParseStatusLine(c.line)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%q: %+v, %v", c.line, got, err)
		}
	}
}

func TestBodyFraming(t *testing.T) {
	for _, c := range []struct {
		head    string
		request Framing
		answer  Framing
		length  uint64
		problem string
	}{
		{"", NoBody, UntilClose, 0, ""},
		{"Content-Length: 0", NoBody, NoBody, 0, ""},
		{"content-length:  12 ", ByLength, ByLength, 12, ""},
		{"Content-Length: 5, 5", ByLength, ByLength, 5, "more than once"},
		{"Content-Length: 5\nContent-Length: 6", ByLength, UntilClose, 5, "differ"},
		{"Content-Length: -1", UntilClose, UntilClose, 0, "invalid"},
		{"Content-Length: +1", UntilClose, UntilClose, 0, "invalid"},
		{"Content-Length: 99999999999999999999", UntilClose, UntilClose, 0, "invalid"},
		{"Transfer-Encoding: chunked", ByChunks, ByChunks, 0, ""},
		{"Transfer-Encoding: gzip, Chunked", ByChunks, ByChunks, 0, ""},
		{"Transfer-Encoding: chunked\nContent-Length: 3", ByChunks, ByChunks, 0, "smuggling"},
		{"Transfer-Encoding: gzip", UntilClose, UntilClose, 0, "does not end with chunked"},
		{"Transfer-Encoding: chunked\nTransfer-Encoding: identity", UntilClose, UntilClose, 0, "does not end"},
		{"Transfer-Encoding: identity", NoBody, UntilClose, 0, "identity"},
		{"Transfer-Encoding: identity\nContent-Length: 3", ByLength, ByLength, 3, "identity"},
		{"Transfer-Encoding: xchunked", UntilClose, UntilClose, 0, "does not end"},
	} {
		fields, _ := ParseFields(c.head)
		for _, request := range []bool{true, false} {
			want := c.answer
			if request {
				want = c.request
			}
			f, n, problem := BodyFraming(fields, request, "HTTP/1.1")
			if f != want || f == ByLength && n != c.length || (problem == "") != (c.problem == "") || !strings.Contains(problem, c.problem) {
				t.Errorf("%q request %v: %v %d %q, want %v %d %q", c.head, request, f, n, problem, want, c.length, c.problem)
			}
		}
	}
}

// chunks reads b in pieces of n bytes.
func chunks(b []byte, n int) (body string, c Chunked, err error) {
	for len(b) > 0 && err == nil && !c.Done() {
		p := b[:min(n, len(b))]
		b = b[len(p):]
		for len(p) > 0 && err == nil && !c.Done() {
			data, k, e := c.Next(p)
			if k == 0 && e == nil {
				break
			}
			body, p, err = body+string(data), p[k:], e
		}
		if c.Done() {
			b = append(bytes.Clone(p), b...)
			if len(b) > 0 {
				body += "|" + string(b)
			}
			return body, c, err
		}
	}
	return body, c, err
}

func TestChunked(t *testing.T) {
	for _, c := range []struct{ in, body, trailer, err string }{
		{"3\r\nabc\r\n0\r\n\r\nnext", "abc|next", "", ""},
		{"3\nabc\n00\n\nnext", "abc|next", "", ""},
		{"A;ext=\"x\"\r\n0123456789\r\n0;last\r\nT: u\r\nV: w\r\n\r\n", "0123456789", "u", ""},
		{"3 \r\nabc\r\n0\r\nT: u\r\n\r\nHTTP", "abc|HTTP", "u", ""},
		{"3\r\nabcd\r\n0\r\n\r\n", "abc", "", "chunked"},
		{"xyz\r\n", "", "", "chunked"},
		{"\r\n", "", "", "chunked"},
		{"-1\r\n", "", "", "chunked"},
		{"11111111111111111\r\n", "", "", "64 bits"},
		{strings.Repeat("0", MaxChunkLine+1) + "\r\n", "", "", "chunked"},
		{"0\r\n" + strings.Repeat("T: u\r\n", MaxTrailers/6+1) + "\r\n", "", "", "trailer"},
	} {
		for _, n := range []int{1, 2, 3, 7, 1 << 20} {
			body, state, err := chunks([]byte(c.in), n)
			trailer := ""
			if len(state.Trailers) > 0 {
				trailer = state.Trailers[0].Value
			}
			if body != c.body || trailer != c.trailer || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%.40q by %d: %q, trailer %q, %v", c.in, n, body, trailer, err)
			}
		}
	}
}

func FuzzChunked(f *testing.F) {
	f.Add([]byte("3;x\r\nabc\r\n0\r\nT: u\r\n\r\nrest"), 2)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		whole, _, err1 := chunks(bytes.Clone(b), len(b)+1)
		cut, _, err2 := chunks(bytes.Clone(b), 1+max(0, n)%9)
		if whole != cut || (err1 == nil) != (err2 == nil) {
			t.Errorf("%q, %v; in pieces %q, %v", whole, err1, cut, err2)
		}
	})
}

func FuzzFields(f *testing.F) {
	f.Add("A: b\r\n c\r\nD:\r\n\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		fields, _ := ParseFields(s)
		total := 0
		for _, x := range fields {
			total += len(x.Name) + len(x.Value)
		}
		if total > len(s) {
			t.Errorf("%d bytes of fields out of %d", total, len(s))
		}
		BodyFraming(fields, true, "HTTP/1.1")
		BodyFraming(fields, false, "HTTP/1.0")
		_, _ = ParseRequestLine(s)
		_, _ = ParseStatusLine(s)
	})
}

var sink []bus.Field

func BenchmarkParseFields(b *testing.B) {
	head := "Host: api.example.test\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nCookie: sid=0123456789\r\n\r\n"
	b.ReportAllocs()
	for b.Loop() {
		sink, _ = ParseFields(head)
	}
}
