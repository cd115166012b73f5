package cdpgw

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Suffixes of target ids. The id of the session's target is the secret path.
const (
	pidSuffix  = "-pid-"
	pageSuffix = "-page-"
)

// product is what the gateway calls itself where a browser gives its version.
const product = "Clipper/0.1"

// scope is what a target shows.
type scope struct {
	pid  int // of one process; 0: all
	page int // of the history, from 1; 0: the newest and all to come
}

// target finds the scope of a target id.
func (g *Gateway) target(id string) (scope, bool) {
	var s scope
	if head, n, ok := strings.Cut(id, pidSuffix); ok {
		v, err := strconv.Atoi(n)
		if err != nil || v <= 0 {
			return s, false
		}
		id, s.pid = head, v
	} else if head, n, ok := strings.Cut(id, pageSuffix); ok {
		v, err := strconv.Atoi(n)
		if err != nil || v <= 0 || v > 1<<30 {
			return s, false
		}
		id, s.page = head, v
	}
	return s, g.isSecret(id)
}

// bundledFrontend is the URL of the page in Chrome's own DevTools. The address
// is a number: the page's policy forbids localhost.
func bundledFrontend(host, id string) string {
	return "devtools://devtools/bundled/js_app.html?ws=" + host + "/devtools/page/" + id + "&panel=network"
}

type targetEntry struct {
	Description          string `json:"description"`
	DevToolsFrontendURL  string `json:"devtoolsFrontendUrl"`
	FaviconURL           string `json:"faviconUrl"`
	ID                   string `json:"id"`
	Title                string `json:"title"`
	Type                 string `json:"type"`
	URL                  string `json:"url"`
	WebSocketDebuggerURL string `json:"webSocketDebuggerUrl"`
}

// discovery answers /json/* as Chrome does.
func (g *Gateway) discovery(w http.ResponseWriter, r *http.Request, name string) {
	if !g.o.Discovery {
		http.Error(w, "discovery is off", http.StatusNotFound)
		return
	}
	var answer any
	switch name {
	case "", "list":
		answer = g.targets(r.Host)
	case "version":
		answer = map[string]string{
			"Browser": product, "Protocol-Version": "1.3", "User-Agent": product, "V8-Version": "0.0", "WebKit-Version": "0.0",
			"webSocketDebuggerUrl": "ws://" + r.Host + "/devtools/browser/" + g.o.SecretPath,
		}
	case "protocol":
		answer = protocolSummary()
	default:
		http.Error(w, "Clipper has /json/list, /json/version and /json/protocol", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(answer)
}

// targets lists the session and each of its processes that spoke.
func (g *Gateway) targets(host string) []targetEntry {
	entry := func(id, title, description, url string) targetEntry {
		return targetEntry{
			Description: description, ID: id, Title: title, URL: url,
			Type:                 "node", // its page has the Network panel and asks for nothing a browser page has
			DevToolsFrontendURL:  bundledFrontend(host, id),
			FaviconURL:           "http://" + host + "/favicon.ico",
			WebSocketDebuggerURL: "ws://" + host + "/devtools/page/" + id,
		}
	}
	title := "Clipper: " + g.o.Title
	if g.o.AppPID > 0 {
		title += " (pid " + strconv.Itoa(g.o.AppPID) + ")"
	}
	list := []targetEntry{entry(g.o.SecretPath, title, g.o.Title, "process://"+strconv.Itoa(g.o.AppPID)+"/")}
	g.mu.Lock()
	defer g.mu.Unlock()
	seen := map[int]bool{}
	for _, p := range slices.Backward(g.processes) {
		if p.Spoke() && !seen[p.PID] && len(seen) < 64 {
			seen[p.PID] = true
			list = append(list, entry(g.o.SecretPath+pidSuffix+strconv.Itoa(p.PID), "Clipper: "+p.Name()+" (pid "+strconv.Itoa(p.PID)+")", p.Command(), p.URL()))
		}
	}
	return list
}
