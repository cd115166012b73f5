//go:build linux

package netd

import "testing"

func TestParsePublish(t *testing.T) {
	for s, want := range map[string]Publish{
		"8080:80":             {"tcp", "[::]:8080", 80},
		"8080:80/tcp":         {"tcp", "[::]:8080", 80},
		"0:80":                {"tcp", "[::]:0", 80},
		"127.0.0.1:8080:80":   {"tcp", "127.0.0.1:8080", 80},
		"[::1]:8080:80":       {"tcp", "[::1]:8080", 80},
		"::1:8080:80":         {"tcp", "[::1]:8080", 80},
		"0.0.0.0:53:5353/udp": {"udp", "0.0.0.0:53", 5353},
	} {
		if got, err := ParsePublish(s); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "80", ":", "80:", ":80", "x:80", "80:x", "80:0", "70000:80", "80:70000", "1.2.3:80:80", "80:80/sctp", "80:80/", "a:b:c:80"} {
		if got, err := ParsePublish(s); err == nil {
			t.Errorf("%q: %+v", s, got)
		}
	}
}

func FuzzParsePublish(f *testing.F) {
	f.Add("127.0.0.1:8080:80/udp")
	f.Fuzz(func(t *testing.T, s string) { ParsePublish(s) })
}
