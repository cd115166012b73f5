package integration

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"clipper/bus/porttest"
)

// TestExampleStage: the decoder of docs/stages.md, built as the page says, takes
// the place of httpdec, from the beginning and in a running session.
func TestExampleStage(t *testing.T) {
	for _, p := range []string{"redis-server", "redis-cli"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(p + " is not installed")
		}
	}
	port := fmt.Sprint(porttest.TCP(t, "127.0.0.1").Port())
	server := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", t.TempDir())
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Kill()
		server.Wait()
	})
	eventually(t, "redis-server answers", func() bool {
		return exec.Command("redis-cli", "-p", port, "ping").Run() == nil
	})
	decoder := build(t, "clipper/examples/redisdec")
	cli := "redis-cli -p " + port + " "

	t.Run("up", func(t *testing.T) {
		r := run(t, plainUser(t), "up", "--no-devtools", "--har", "out.har", "--httpdec", decoder, "--", "sh", "-ec",
			cli+"set name clipper; "+cli+"get name; "+cli+"incr name || true")
		if r.code != 0 {
			t.Fatalf("exit %d %s", r.code, r.stderr)
		}
		rows := redisRows(t, filepath.Join(r.dir, "out.har"))
		want := []string{
			"SET redis://127.0.0.1:" + port + "/name 200 OK",
			"GET redis://127.0.0.1:" + port + "/name 200 clipper",
			"INCR redis://127.0.0.1:" + port + "/name 500 ERR value is not an integer or out of range",
		}
		if fmt.Sprint(rows) != fmt.Sprint(want) {
			t.Errorf("the HAR has\n%s\nwant\n%s", strings.Join(rows, "\n"), strings.Join(want, "\n"))
		}
	})
	t.Run("swap", func(t *testing.T) {
		s := startSession(t, plainUser(t), "--har", "out.har")
		s.do(t, "true")
		if _, stderr, code := s.clipper(t, "swap", "httpdec", decoder); code != 0 {
			t.Fatalf("swap: exit %d %s", code, stderr)
		}
		s.do(t, cli+"get other >&2")
		s.end(t)
		rows := redisRows(t, filepath.Join(s.cmd.Dir, "out.har"))
		if want := "[GET redis://127.0.0.1:" + port + "/other 200 (nil)]"; fmt.Sprint(rows) != want {
			t.Errorf("the HAR has %v, want %s", rows, want)
		}
	})
}

// redisRows are the exchanges of a HAR, without those by which redis-cli learns
// about the server.
func redisRows(t *testing.T, path string) (rows []string) {
	var h struct {
		Log struct {
			Entries []struct {
				Request  struct{ Method, URL string }
				Response struct {
					Status  int
					Content struct{ Text string }
				}
			}
		}
	}
	unmarshal(t, readFile(t, path), &h)
	for _, e := range h.Log.Entries {
		if e.Request.Method != "COMMAND" {
			rows = append(rows, fmt.Sprintf("%s %s %d %s", e.Request.Method, e.Request.URL, e.Response.Status, e.Response.Content.Text))
		}
	}
	return rows
}

// TestStagePageQuotesTheExample: the code in docs/stages.md is the example's.
func TestStagePageQuotesTheExample(t *testing.T) {
	code := ""
	for _, f := range []string{"main.go", "stage.go"} {
		code += string(readFile(t, filepath.Join("..", "examples", "redisdec", f)))
	}
	code = strings.Join(strings.Fields(code), " ")
	page := string(readFile(t, "../docs/stages.md"))
	_, program, _ := strings.Cut(page, "## The program")
	program, _, _ = strings.Cut(program, "## Testing it")
	quotes := 0
	for block := range strings.SplitSeq(program, "\n\n") {
		if !strings.HasPrefix(block, "    ") {
			continue
		}
		quotes++
		if !strings.Contains(code, strings.Join(strings.Fields(block), " ")) {
			t.Errorf("the example does not have\n%s", block)
		}
	}
	if quotes < 3 {
		t.Errorf("%d quotes", quotes)
	}
}
