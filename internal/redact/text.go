package redact

import (
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// The patterns are compiled when they are first needed: most processes never do.
var (
	userinfo  = pattern(`(://)([^/?#\s"'@]+)@`)
	parameter = pattern(`([?&;#])([A-Za-z0-9_.%\[\]-]{1,100})=([^&;#\s"'<>\\]+)`)
	element   = pattern(`<((?:[\w-]{1,60}:)?([\w-]{1,60}))(\s[^<>]*)?>([^<>]+)</`)

	// What credentials look like, whatever they are called.
	looks = pattern(strings.Join([]string{
		`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`, // JSON Web Token, RFC 7519
		`\b(?:AKIA|ASIA)[A-Z0-9]{16}\b`,                             // AWS
		`\bgh[pousr]_[A-Za-z0-9]{30,}`, `\bgithub_pat_[A-Za-z0-9_]{30,}`,
		`\bglpat-[A-Za-z0-9_-]{18,}`,
		`\bxox[abeoprs]-[A-Za-z0-9-]{10,}`,
		`\bsk-[A-Za-z0-9_-]{20,}`, `\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}`,
		`\bAIza[A-Za-z0-9_-]{35}`,
		`\bnpm_[A-Za-z0-9]{30,}`, `\bhvs\.[A-Za-z0-9_-]{20,}`,
		`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----`,
		`(?i)\b(?:bearer|basic) [A-Za-z0-9._~+/=-]{12,}`,
	}, "|"))
)

func pattern(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// looks replaces what looks like a credential or was one before.
func (r *Redactor) looks(s string) string {
	s = looks().ReplaceAllStringFunc(s, func(m string) string {
		if scheme, secret, ok := strings.Cut(m, " "); ok && !strings.HasPrefix(m, "-----") {
			return scheme + " " + r.name(secret)
		}
		return r.name(m)
	})
	return r.again(s)
}

// text is a URL, or any text that may hold one.
func (r *Redactor) text(s string) string {
	if s == "" {
		return s
	}
	s = userinfo().ReplaceAllStringFunc(s, func(m string) string {
		who := m[3 : len(m)-1]
		if name, password, ok := strings.Cut(who, ":"); ok {
			return "://" + name + ":" + r.name(unescape(password)) + "@"
		}
		return "://" + r.name(unescape(who)) + "@"
	})
	s = parameter().ReplaceAllStringFunc(s, func(m string) string {
		name, value, _ := strings.Cut(m[1:], "=")
		return m[:1] + r.pair(name, value)
	})
	return r.looks(s)
}

// pair is a parameter of a query or a form.
func (r *Redactor) pair(name, value string) string {
	if sensitiveParameter(unescape(name)) {
		return name + "=" + r.name(unescape(value))
	}
	return name + "=" + value
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// body is a body or a message: JSON, a form, multipart, XML, or any text.
func (r *Redactor) body(s string) string {
	switch {
	case isForm(s):
		pairs := strings.Split(s, "&")
		for i, p := range pairs {
			if name, value, ok := strings.Cut(p, "="); ok {
				pairs[i] = r.pair(name, value)
			}
		}
		s = strings.Join(pairs, "&")
	case strings.HasPrefix(s, "--"):
		s = r.multipart(s)
	}
	s = r.json(s, 0)
	s = element().ReplaceAllStringFunc(s, func(m string) string {
		p := element().FindStringSubmatch(m)
		if !sensitive(p[2]) {
			return m
		}
		return "<" + p[1] + p[3] + ">" + r.name(p[4]) + "</"
	})
	return r.text(s)
}

// isForm reports whether s is application/x-www-form-urlencoded.
func isForm(s string) bool {
	first, _, _ := strings.Cut(s, "&")
	name, _, ok := strings.Cut(first, "=")
	return ok && name != "" && !strings.ContainsAny(s, " \t\r\n<>{}\"")
}

// multipart is a form of parts (RFC 7578): those with a telling name lose their text.
func (r *Redactor) multipart(s string) string {
	boundary, _, _ := strings.Cut(s, "\r\n")
	parts := strings.Split(s, "\r\n"+boundary)
	for i, p := range parts {
		head, text, ok := strings.Cut(p, "\r\n\r\n")
		_, name, named := strings.Cut(head, `name="`)
		name, _, _ = strings.Cut(name, `"`)
		if ok && named && sensitiveParameter(name) {
			parts[i] = head + "\r\n\r\n" + r.name(text)
		}
	}
	return strings.Join(parts, "\r\n"+boundary)
}

// maxNesting is how many JSON texts may lie within strings of each other.
const maxNesting = 4

// json goes through the strings of s and replaces the values of fields with
// telling names. It needs no valid JSON: what was cut off, or stands within
// HTML, is treated alike.
func (r *Redactor) json(s string, nesting int) string {
	var b strings.Builder
	done := 0 // s up to here is in b
	put := func(from, to int, text string) {
		b.WriteString(s[done:from])
		b.WriteString(text)
		done = to
	}
	key, named := "", false // {"name": "password", "value": …}: a pair as an object
	for i := 0; i < len(s); {
		if s[i] == '{' || s[i] == '}' {
			key, named = "", false
		}
		if s[i] != '"' {
			i++
			continue
		}
		end := stringEnd(s, i)
		text := unquote(s[i:end])
		at := skipSpace(s, end)
		if at >= len(s) || s[at] != ':' { // a value
			if key == "name" || key == "key" {
				named = sensitive(text)
			}
			key = ""
			if nesting < maxNesting && strings.Contains(s[i:end], `\"`) {
				if inner := r.json(text, nesting+1); inner != text {
					put(i, end, quote(inner))
				}
			}
			i = end
			continue
		}
		i = skipSpace(s, at+1)
		key = plain(text)
		if secret := sensitive(text) || named && key == "value"; !secret || i >= len(s) {
			continue
		}
		key = ""
		i = r.value(s, i, text, put)
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

// value replaces the strings of the value at s[i:], and returns where it ends.
func (r *Redactor) value(s string, i int, name string, put func(from, to int, text string)) int {
	depth := 0
	for i < len(s) {
		switch c := s[i]; {
		case c == '"':
			end := stringEnd(s, i)
			if at := skipSpace(s, end); depth == 0 || at >= len(s) || s[at] != ':' {
				if secret := unquote(s[i:end]); secret != "" {
					put(i, end, quote(r.name(secret)))
				}
			}
			i = end
		case c == '{' || c == '[':
			depth++
			i++
		case c == '}' || c == ']':
			if depth == 0 {
				return i // of what is around it
			}
			depth--
			i++
		case c >= '0' && c <= '9' || c == '-':
			end := i
			for end < len(s) && strings.IndexByte("+-.eE0123456789", s[end]) >= 0 {
				end++
			}
			if n := plain(name); exact[n] || strings.Contains(n, "pass") { // a PIN; not the number of tokens
				put(i, end, quote(r.name(s[i:end])))
			}
			i = end
		case c == ',' && depth == 0:
			return i
		default:
			i++
		}
		if depth == 0 && i < len(s) && (s[i] == ',' || s[i] == '}' || s[i] == ']') {
			return i
		}
	}
	return i
}

// stringEnd is the index behind the string that begins at s[i].
func stringEnd(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

func skipSpace(s string, i int) int {
	for i < len(s) && strings.IndexByte(" \t\r\n", s[i]) >= 0 {
		i++
	}
	return i
}

// unquote is the text of a JSON string, as far as it is one.
func unquote(s string) string {
	var text string
	if json.Unmarshal([]byte(s), &text) == nil {
		return text
	}
	return strings.Trim(s, `"`)
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}
