package translate

import (
	"net/url"
	"strings"

	"clipper/bus"
	"clipper/cdpgw/internal/cdp"
)

// A redirect and the request that follows it are one row chain in the
// protocol: the follower has the same request id and carries the response.
// Nobody knows at the time of the response whether the program will follow,
// so its end waits for a while. A follower that comes later still joins.
type redirect struct {
	target        string // absolute URL, normalized
	at            int64  // end of the response
	decoded, wire uint64
	sent          bool // shown as an ordinary response meanwhile
}

// redirectKey is who follows: a process, or a client address where processes
// are unknown, as in a recorded file.
type redirectKey struct {
	pid    int
	client string
}

func (x *exchange) redirectKey() redirectKey {
	if x.c.process != nil {
		return redirectKey{pid: x.c.process.PID}
	}
	return redirectKey{client: x.c.facts.Client.Addr().String()}
}

// redirectTarget is where a 3xx response leads, "" if nowhere (RFC 9110, section 15.4).
func redirectTarget(req *bus.Request, r *bus.Response) string {
	switch r.Status {
	case 301, 302, 303, 307, 308:
	default:
		return ""
	}
	location := headers(r.Headers).Get("location")
	base, err := url.Parse(req.URL)
	if location == "" || err != nil {
		return ""
	}
	u, err := base.Parse(location)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") {
		return ""
	}
	return normalize(u)
}

func normalize(u *url.URL) string {
	v := *u
	v.Fragment, v.RawFragment, v.User = "", "", nil
	v.Scheme, v.Host = strings.ToLower(v.Scheme), strings.ToLower(v.Host)
	if port := v.Port(); port == "80" && v.Scheme == "http" || port == "443" && v.Scheme == "https" {
		v.Host = strings.TrimSuffix(v.Host, ":"+port)
	}
	if v.Path == "" {
		v.Path = "/"
	}
	return v.String()
}

// awaitFollower keeps x for the request that follows it.
func (t *Translator) awaitFollower(x *exchange) {
	x.deadline = t.now.Add(RedirectWait)
	t.pending = append(t.pending, x)
	if len(t.redirects) >= maxFollowers {
		clear(t.redirects)
	}
	key := x.redirectKey()
	list := append(t.redirects[key], x)
	if len(list) > maxRedirects {
		list = list[1:]
	}
	t.redirects[key] = list
}

// follow finds the redirect that x follows.
func (t *Translator) follow(x *exchange) *exchange {
	key := x.redirectKey()
	list := t.redirects[key]
	if len(list) == 0 {
		return nil
	}
	u, err := url.Parse(x.request.URL)
	if err != nil {
		return nil
	}
	target := normalize(u)
	var found *exchange
	keep := list[:0]
	for _, r := range list {
		age := x.start - r.redirect.at
		switch {
		case found == nil && r.redirect.target == target && age >= 0 && age < int64(redirectSpan):
			found = r
		case age < int64(redirectSpan) || !r.redirect.sent:
			keep = append(keep, r)
		}
	}
	clear(list[len(keep):])
	if len(keep) == 0 {
		delete(t.redirects, key)
	} else {
		t.redirects[key] = keep
	}
	if found != nil {
		t.unqueue(found)
	}
	return found
}

func (t *Translator) unqueue(x *exchange) {
	for i, p := range t.pending {
		if p == x {
			t.pending = append(t.pending[:i], t.pending[i+1:]...)
			return
		}
	}
}

// finishRedirect shows a redirect that nobody followed in time as an ordinary response.
func (x *exchange) finishRedirect() {
	x.c.t.unqueue(x)
	x.redirect.send(x)
	x.finish(x.redirect.at)
}

func (r *redirect) send(x *exchange) {
	if r.sent {
		return
	}
	r.sent = true
	x.sendResponse()
	if r.decoded+r.wire > 0 {
		x.event("Network.dataReceived", cdp.DataReceived{RequestID: x.id, Timestamp: seconds(r.at), DataLength: int64(r.decoded), EncodedDataLength: int64(r.wire)})
	}
}
