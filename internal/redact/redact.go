// Package redact replaces credentials by pseudonyms, so that what was recorded
// can be shown to others. What flows in are exchanges, events and bodies; what
// flows out are copies in which the same secret has the same name everywhere, and
// a name tells nothing of the secret: it is an HMAC under a key that is made for
// the run and kept nowhere.
//
// It knows credentials by where they stand (headers, cookies, parameters and
// fields with telling names) and by their looks (JSON Web Tokens, keys with known
// prefixes), and it finds again what it saw once. It cannot know a secret that is
// called "note".
package redact

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode"

	"clipper/bus"
	"clipper/httpdec/exchange"
)

// Redactor is safe for concurrent use.
type Redactor struct {
	key [32]byte

	mu       sync.Mutex
	known    map[string]bool
	replacer *strings.Replacer // of known; nil when there are new ones
}

// New makes a Redactor with a key of its own.
func New() *Redactor {
	r := &Redactor{known: map[string]bool{}}
	rand.Read(r.key[:])
	return r
}

// Secrets that are found again wherever they stand: long and mixed enough to be
// no ordinary word, and so many at most.
const (
	minKnown = 12
	maxKnown = 2000
)

const prefix = "redacted-"

// name is the pseudonym of a secret, which is remembered.
func (r *Redactor) name(secret string) string {
	if secret == "" || strings.HasPrefix(secret, prefix) {
		return secret
	}
	if len(secret) >= minKnown && strings.IndexFunc(secret, unicode.IsLetter) >= 0 && strings.IndexFunc(secret, unicode.IsDigit) >= 0 {
		r.mu.Lock()
		if !r.known[secret] && len(r.known) < maxKnown {
			r.known[secret], r.replacer = true, nil
		}
		r.mu.Unlock()
	}
	return r.pseudonym(secret)
}

// again replaces the secrets that were seen before.
func (r *Redactor) again(s string) string {
	r.mu.Lock()
	if r.replacer == nil {
		secrets := slices.SortedFunc(maps.Keys(r.known), func(a, b string) int { return len(b) - len(a) }) // the longest wins
		var pairs []string
		for _, secret := range secrets {
			pairs = append(pairs, secret, r.pseudonym(secret))
		}
		r.replacer = strings.NewReplacer(pairs...)
	}
	p := r.replacer
	r.mu.Unlock()
	return p.Replace(s)
}

// pseudonym is a function of the secret and the key of the run.
func (r *Redactor) pseudonym(secret string) string {
	h := hmac.New(sha256.New, r.key[:])
	h.Write([]byte(secret))
	return prefix + hex.EncodeToString(h.Sum(nil)[:6])
}

// Exchange is a copy of x without credentials.
func (r *Redactor) Exchange(x *exchange.Exchange) *exchange.Exchange {
	c := *x
	c.Request, c.Response = r.request(x.Request), r.response(x.Response)
	c.RequestEnd, c.ResponseEnd = r.end(x.RequestEnd), r.end(x.ResponseEnd)
	c.Information = slices.Clone(x.Information)
	for i := range c.Information {
		c.Information[i].Response = r.response(c.Information[i].Response)
	}
	c.Messages = slices.Clone(x.Messages)
	for i := range c.Messages {
		c.Messages[i].Message = r.message(c.Messages[i].Message)
	}
	c.Process = r.process(x.Process)
	return &c
}

// Verdict is a copy of v without credentials.
func (r *Redactor) Verdict(v *exchange.Verdict) *exchange.Verdict {
	c := *v
	c.Process = r.process(v.Process)
	return &c
}

// Event is a copy of e without credentials.
func (r *Redactor) Event(e *bus.Event) *bus.Event {
	c := *e
	c.Request, c.Response, c.End, c.Message = r.request(e.Request), r.response(e.Response), r.end(e.End), r.message(e.Message)
	return &c
}

// Proc is a copy of e without credentials.
func (r *Redactor) Proc(e *bus.ProcEvent) *bus.ProcEvent {
	c := *e
	c.Argv = r.argv(e.Argv)
	return &c
}

func (r *Redactor) request(q *bus.Request) *bus.Request {
	if q == nil {
		return nil
	}
	c := *q
	c.Headers = r.headers(q.Headers) // first: what they show is found again in the rest
	c.URL, c.Target, c.Raw = r.text(q.URL), r.text(q.Target), r.head(q.Raw)
	return &c
}

func (r *Redactor) response(p *bus.Response) *bus.Response {
	if p == nil {
		return nil
	}
	c := *p
	c.Headers, c.Raw = r.headers(p.Headers), r.head(p.Raw)
	return &c
}

func (r *Redactor) end(e *bus.MessageEnd) *bus.MessageEnd {
	if e == nil {
		return nil
	}
	c := *e
	c.Trailers = r.headers(e.Trailers)
	if c.Content != nil && c.Content.Parts != nil { // their places are those in the body as it was
		content := *c.Content
		content.Parts = nil
		c.Content = &content
	}
	return &c
}

func (r *Redactor) message(m *bus.Message) *bus.Message {
	if m == nil {
		return nil
	}
	c := *m
	c.Text = r.body(m.Text)
	if len(m.Binary) > 0 {
		c.Binary = []byte(r.looks(string(m.Binary)))
	}
	return &c
}

func (r *Redactor) headers(fields []bus.Field) []bus.Field {
	list := slices.Clone(fields)
	for i, f := range list {
		list[i].Value = r.header(f.Name, f.Value)
	}
	return list
}

// head is the head of an HTTP/1 message: a line, then field lines.
func (r *Redactor) head(raw string) string {
	var b strings.Builder
	for line := range strings.Lines(raw) {
		text := strings.TrimRight(line, "\r\n")
		b.WriteString(r.fieldLine(text))
		b.WriteString(line[len(text):])
	}
	return b.String()
}

// fieldLine is "Name: value", or any other text.
func (r *Redactor) fieldLine(line string) string {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" || strings.ContainsAny(name, " /?=\"{") {
		return r.text(line)
	}
	space := value[:len(value)-len(strings.TrimLeft(value, " \t"))]
	return name + ":" + space + r.header(name, value[len(space):])
}

// header is the value of a header field.
func (r *Redactor) header(name, value string) string {
	switch strings.ToLower(name) {
	case "authorization", "proxy-authorization", "authentication":
		return r.authorization(value)
	case "cookie":
		return r.cookies(value)
	case "set-cookie":
		cookie, attributes, more := strings.Cut(value, ";")
		if more {
			return r.cookie(cookie) + ";" + attributes
		}
		return r.cookie(cookie)
	}
	if !strings.HasPrefix(name, ":") && sensitive(name) {
		return r.name(value)
	}
	return r.text(value)
}

// authorization keeps the scheme (RFC 9110, section 11.4), and of a scheme with
// parameters their names.
func (r *Redactor) authorization(value string) string {
	scheme, rest, ok := strings.Cut(value, " ")
	if !ok {
		return r.name(value)
	}
	if strings.EqualFold(scheme, "basic") { // RFC 7617: the password may stand alone elsewhere
		if pair, err := base64.StdEncoding.DecodeString(rest); err == nil {
			_, password, _ := strings.Cut(string(pair), ":")
			r.name(password)
		}
	}
	if !strings.Contains(rest, "=\"") && !strings.Contains(rest, ", ") {
		return scheme + " " + r.name(rest)
	}
	parts := strings.Split(rest, ",")
	for i, p := range parts {
		if name, v, ok := strings.Cut(p, "="); ok {
			parts[i] = name + `="` + r.name(strings.Trim(v, `"`)) + `"`
		} else {
			parts[i] = r.name(p)
		}
	}
	return scheme + " " + strings.Join(parts, ",")
}

func (r *Redactor) cookies(value string) string {
	parts := strings.Split(value, ";")
	for i, p := range parts {
		parts[i] = r.cookie(p)
	}
	return strings.Join(parts, ";")
}

func (r *Redactor) cookie(pair string) string {
	if name, value, ok := strings.Cut(pair, "="); ok {
		return name + "=" + r.name(value)
	}
	return r.name(pair)
}
