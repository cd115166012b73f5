// Package graphql finds the operation of a GraphQL request (GraphQL over HTTP,
// https://graphql.github.io/graphql-over-http/draft/), which may be cut short.
package graphql

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Operation is what a request asks for.
type Operation struct {
	Name string // empty: anonymous
	Type string // "query", "mutation", "subscription"; empty: a persisted query, whose text was not sent
}

// Request finds the operation in a JSON body, the first one of a batch.
func Request(b []byte) (o Operation, ok bool) {
	b = bytes.TrimLeft(b, " \t\r\n")
	if len(b) > 0 && b[0] == '[' {
		b = bytes.TrimLeft(b[1:], " \t\r\n")
	}
	if len(b) == 0 || b[0] != '{' {
		return o, false
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if _, err := d.Token(); err != nil {
		return o, false
	}
	var query, name string
	var hasQuery, persisted bool
	for d.More() {
		key, err := d.Token()
		if err != nil {
			break
		}
		var v json.RawMessage
		if d.Decode(&v) != nil {
			break // cut: what came before counts
		}
		switch key {
		case "query":
			hasQuery = json.Unmarshal(v, &query) == nil
		case "operationName":
			_ = json.Unmarshal(v, &name) // null is no name
		case "extensions":
			persisted = bytes.Contains(v, []byte(`"persistedQuery"`))
		}
	}
	if hasQuery && query != "" {
		return Query(query, name)
	}
	return Operation{Name: name}, persisted
}

// Query finds the operation of that name in a document, or the first one.
func Query(document, name string) (o Operation, ok bool) {
	depth := 0
	s := document
	for s != "" {
		switch c := s[0]; {
		case c == '#':
			_, s, _ = strings.Cut(s, "\n")
		case strings.HasPrefix(s, `"""`):
			_, s, _ = strings.Cut(s[3:], `"""`)
		case c == '"':
			s = skipString(s[1:])
		case c == '{' && depth == 0 && !ok && strings.Trim(strings.TrimSuffix(document, s), " \t\r\n,\ufeff") == "":
			o, ok = Operation{Type: "query"}, true // the short form
			depth++
			s = s[1:]
		case c == '{', c == '(', c == '[':
			depth++
			s = s[1:]
		case c == '}', c == ')', c == ']':
			depth--
			s = s[1:]
		case isName(c):
			var word string
			word, s = cutName(s)
			if depth == 0 && (word == "query" || word == "mutation" || word == "subscription") {
				var given string
				given, s = cutName(strings.TrimLeft(s, " \t\r\n,"))
				if !ok || name != "" && given == name {
					o, ok = Operation{given, word}, true
				}
			} else if depth == 0 && (word == "fragment" || word == "on") { // a name follows
				_, s = cutName(strings.TrimLeft(s, " \t\r\n,"))
			} else if depth == 0 && !ok {
				return o, false // not GraphQL
			}
		default:
			s = s[1:]
		}
	}
	return o, ok && strings.Contains(document, "{")
}

func skipString(s string) string {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"', '\n':
			return s[i+1:]
		}
	}
	return ""
}

func isName(c byte) bool {
	return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
}

func cutName(s string) (name, rest string) {
	i := 0
	for i < len(s) && isName(s[i]) {
		i++
	}
	return s[:i], s[i:]
}
