package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"clipper/integration/truth"

	"github.com/gorilla/websocket"
)

// rowDelays measures how long after its packet a row, its response and its end reach
// an attached DevTools: by requests on connections that are open already, and by
// programs that have just begun.
func rowDelays(bin string, n int) error {
	s, dir, ca, err := startTruth(truth.Options{})
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer s.Close()
	cmd := exec.Command(bin, "up", "-q", "--", "sh", "-c", `while read -r line; do eval "$line" >/dev/null; done`)
	cmd.Env = append(os.Environ(), "CLIPPER_DIR="+filepath.Join(dir, "sessions"))
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { in.Close(); cmd.Wait() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return err
	}
	host := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
	ws, err := attach(host)
	if err != nil {
		return err
	}
	defer ws.Close()
	curl := "curl -sk --cacert " + ca + " "
	for _, c := range []struct {
		name, script string
		count        int
	}{
		{"warm-up", curl + s.URL + "/json/0", 1},
		{"open connection", fmt.Sprintf("%s '%s/json/[1-%d]'", curl, s.URL, n), n},
		{"new program", fmt.Sprintf("for i in $(seq %d); do %s %s/json/$i; done", n/10, curl, s.URL), n / 10},
	} {
		fmt.Fprintln(in, c.script)
		delays, err := observe(ws, c.count)
		if err != nil {
			return err
		}
		if c.name == "warm-up" {
			continue
		}
		for _, method := range rowEvents {
			report(c.name+", "+method, delays[method])
		}
	}
	return nil
}

var rowEvents = []string{"requestWillBeSent", "responseReceived", "loadingFinished"}

func attach(host string) (*websocket.Conn, error) {
	b, err := exec.Command("curl", "-s", "http://"+host+"/json/list").Output()
	if err != nil {
		return nil, err
	}
	var list []struct{ WebSocketDebuggerURL string }
	if err := json.Unmarshal(b, &list); err != nil || len(list) == 0 {
		return nil, fmt.Errorf("/json/list: %s: %w", b, err)
	}
	ws, _, err := websocket.DefaultDialer.Dial(list[0].WebSocketDebuggerURL, nil)
	if err != nil {
		return nil, err
	}
	return ws, ws.WriteJSON(map[string]any{"id": 1, "method": "Network.enable"})
}

// observe reads until n exchanges have ended, and says how late each event came.
// That of a request on a new connection is counted from its SYN.
func observe(ws *websocket.Conn, n int) (map[string][]time.Duration, error) {
	delays := map[string][]time.Duration{}
	for len(delays["loadingFinished"]) < n {
		var m struct {
			Method string
			Params struct{ Timestamp float64 }
		}
		if err := ws.ReadJSON(&m); err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(m.Method, "Network.")
		at := time.UnixMicro(int64(m.Params.Timestamp * 1e6))
		delays[name] = append(delays[name], time.Since(at))
	}
	return delays, nil
}

func report(name string, d []time.Duration) {
	slices.Sort(d)
	if len(d) > 0 {
		fmt.Printf("%-40s p50 %6.1f ms  p99 %6.1f ms  of %d\n", name, d[len(d)/2].Seconds()*1e3, d[len(d)*99/100].Seconds()*1e3, len(d))
	}
}
