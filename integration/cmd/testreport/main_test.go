package main

import (
	"strings"
	"testing"
)

const sample = `{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:9: no nginx here\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Elapsed":1.5}
`

func TestReport(t *testing.T) {
	for _, c := range []struct {
		name, in, allowed, want string
		ok                      bool
	}{
		{"allowed skip", sample, "p TestA nginx is not everywhere\n",
			"pass p 1.5s\nskipped p TestA: a_test.go:9: no nginx here\n1 passed, 0 failed, 1 skipped\n", true},
		{"allowed by its beginning", sample, "p Test* nothing is everywhere\n",
			"pass p 1.5s\nskipped p TestA: a_test.go:9: no nginx here\n1 passed, 0 failed, 1 skipped\n", true},
		{"skip without leave", sample, "p TestAB another\n",
			"pass p 1.5s\nskipped p TestA: a_test.go:9: no nginx here\nFAILED p TestA was skipped and is not on the list of allowed skips\n1 passed, 0 failed, 1 skipped\n", false},
		{"failure", `{"Action":"output","Package":"p","Test":"TestA","Output":"boom\n"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestA"}` + "\n", "",
			"boom\nFAILED p TestA\n0 passed, 1 failed, 0 skipped\n", false},
		{"broken off", `{"Action":"output","Package":"p","Test":"TestA","Output":"SIGSEGV\n"}` + "\n" + `{"Action":"fail","Package":"p","Elapsed":1}` + "\n", "",
			"fail p 1.0s\np TestA had not ended:\nSIGSEGV\nFAILED p\n0 passed, 0 failed, 0 skipped\n", false},
		{"nothing ran", "", "", "0 passed, 0 failed, 0 skipped\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			ok := report(strings.NewReader(c.in), &out, parseAllowed(c.allowed))
			if out.String() != c.want || ok != c.ok {
				t.Errorf("got %v and\n%s\nwant %v and\n%s", ok, out.String(), c.ok, c.want)
			}
		})
	}
}
