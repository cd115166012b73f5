package cdpgw

import (
	"testing"
)

func TestHostPattern(t *testing.T) {
	for pattern, want := range map[string]string{
		"*://api.example.com":           "api.example.com:80,443",
		"*://api.example.com/*":         "api.example.com:80,443",
		"https://API.example.com":       "api.example.com:443",
		"http://api.example.com":        "api.example.com:80",
		"http{s}?://*.example.com":      "*.example.com:80,443",
		"*://localhost:8443":            "localhost:8443",
		"*://*:8443/*":                  "*:8443",
		"*://*:*/*":                     "everything",
		`*://api\.example\.com:*`:       "api.example.com",
		"*://127.0.0.1:80":              "127.0.0.1:80",
		`*://[\:\:1]:8080`:              "[::1]:8080",
		"*://[::1]":                     "[::1]:80,443",
		"api.example.com":               "api.example.com:80,443",
		"*://api.example.com/":          "error",
		"*://api.example.com/v1/users":  "error",
		"*://api.example.com/v1?q=1":    "error",
		"*://api.example.com?q=1":       "error",
		"*://:sub.example.com":          "error",
		"*://{a,b}.example.com":         "error",
		"ftp://example.com":             "error",
		"*://example.com:99999":         "error",
		"*://[::1":                      "error",
		"":                              "error",
		"*://":                          "error",
		`*://x\`:                        "error",
		"*://api.example.com:443\n:443": "error",
	} {
		got := "error"
		if target, err := hostPattern(pattern); err == nil {
			got = target.String()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", pattern, got, want)
		}
	}
}

func TestHostWildcard(t *testing.T) {
	for pattern, want := range map[string]string{
		"ads.example.com":             "ads.example.com",
		"*ads.example.com*":           "*ads.example.com",
		"*://ads.example.com/*":       "ads.example.com",
		"https://ads.example.com/":    "ads.example.com",
		"*://ads.example.com:8443/*":  "ads.example.com:8443",
		"https://ads.example.com/x.*": "error",
		"*/analytics.js":              "error",
	} {
		got := "error"
		if target, err := hostWildcard(pattern); err == nil {
			got = target.String()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", pattern, got, want)
		}
	}
}

func FuzzHostPattern(f *testing.F) {
	f.Add("*://api.example.com:443/*")
	f.Add(`*://[\:\:1]:8080`)
	f.Fuzz(func(t *testing.T, pattern string) {
		if target, err := hostPattern(pattern); err == nil && target.Host == "" {
			t.Errorf("%q has no host", pattern)
		}
		if target, err := hostWildcard(pattern); err == nil && target.Host == "" {
			t.Errorf("%q has no host", pattern)
		}
	})
}
