package cdpgw

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"clipper/cdpgw/frontend"
)

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	why := refusedPeer(r)
	if why == "" {
		why = refuse(r)
	}
	if why != "" {
		http.Error(w, "Clipper refuses this request: "+why, http.StatusForbidden)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && !(r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/json")) {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	first, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case first == "json":
		g.discovery(w, r, strings.Trim(rest, "/"))
	case first == "devtools":
		kind, id, _ := strings.Cut(rest, "/")
		g.webSocket(w, r, kind, id)
	case first == "" && g.o.Discovery:
		http.Redirect(w, r, "/"+g.o.SecretPath+"/", http.StatusFound)
	case first == "favicon.ico":
		g.icon(w)
	case g.isSecret(first) && !strings.Contains(r.URL.Path[1:], "/"):
		http.Redirect(w, r, "/"+first+"/", http.StatusFound)
	case g.isSecret(first):
		g.page(w, r, rest)
	default:
		http.Error(w, "not found: open the URL that clipper printed", http.StatusNotFound)
	}
}

func (g *Gateway) isSecret(s string) bool {
	return subtle.ConstantTimeCompare([]byte(s), []byte(g.o.SecretPath)) == 1
}

// page serves the frontend's files; its own page is the directory.
func (g *Gateway) page(w http.ResponseWriter, r *http.Request, name string) {
	switch name {
	case "":
		q := r.URL.Query()
		if q.Get("ws") == "" {
			id := g.o.SecretPath
			if n, err := strconv.Atoi(q.Get("page")); err == nil && n > 0 {
				id += pageSuffix + strconv.Itoa(n)
			}
			if pid, err := strconv.Atoi(q.Get("pid")); err == nil && pid > 0 {
				id += pidSuffix + strconv.Itoa(pid)
			}
			to := "?ws=" + url.QueryEscape(r.Host+"/devtools/page/"+id) + "&panel=network"
			if g.o.Conditions == nil {
				to += "&recorded" // the page then has no controls for the network
			}
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		name = "clipper.html"
	case "certificates":
		g.certificatesPage(w, r)
		return
	case "alive":
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if t := contentTypes[path.Ext(name)]; t != "" {
		w.Header().Set("Content-Type", t)
	}
	http.ServeFileFS(w, r, frontend.FS(), name)
}

var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".json": "application/json",
	".svg": "image/svg+xml", ".png": "image/png", ".avif": "image/avif", ".wasm": "application/wasm",
}

// icon is a small picture: a missing one is an error in the frontend's console.
func (g *Gateway) icon(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Write([]byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="#1a73e8"/>` +
		`<path d="M4 8h8M8 4v8" stroke="#fff" stroke-width="2" stroke-linecap="round"/></svg>`))
}
