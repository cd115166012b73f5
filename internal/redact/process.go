package redact

import (
	"path"
	"strings"

	"clipper/httpdec/exchange"
)

func (r *Redactor) process(p exchange.Process) exchange.Process {
	p.Argv = r.argv(p.Argv)
	return p
}

// argv is a command line: options and assignments with telling names, header
// lines, cookies and user:password as curl and its like take them.
func (r *Redactor) argv(argv []string) []string {
	if argv == nil {
		return nil
	}
	list := make([]string, len(argv))
	w := words{r: r}
	for i, a := range argv {
		list[i] = w.next(a)
	}
	return list
}

// words are the arguments of a command line, one after the other.
type words struct {
	r      *Redactor
	begun  bool   // the name of the program is behind
	curl   bool   // it is curl
	option string // the argument before, if that was an option that may take this one
}

// curlTakes are the letters of curl's options that take an argument (curl(1)): what
// follows one in the same word is that argument, as in -sku joe:secret or -bid=42.
const curlTakes = "AbcCdDeEFHKmoPQrtTuUwxXyYz"

// next is the next argument without credentials.
func (w *words) next(a string) string {
	option := w.option
	w.option = ""
	if !w.begun {
		w.begun, w.curl = true, path.Base(a) == "curl"
		return w.r.argument("", a)
	}
	if !strings.HasPrefix(a, "-") {
		return w.r.argument(option, a)
	}
	if w.curl && !strings.HasPrefix(a, "--") {
		i := strings.IndexAny(a, curlTakes)
		switch {
		case i < 0:
			return a
		case i+1 == len(a):
			w.option = "-" + a[i:]
			return a
		}
		return a[:i+1] + w.r.argument("-"+a[i:i+1], a[i+1:])
	}
	w.option = a
	return w.r.argument(option, a)
}

// shellOption is the option of shells behind which a script stands: -c, -ec, -lc.
var shellOption = pattern(`^-[a-z]{0,4}c$`)

// argument is one argument; option is the one before it if that was an option.
func (r *Redactor) argument(option, a string) string {
	switch option {
	case "-u", "-U", "--user", "--proxy-user":
		if user, password, ok := strings.Cut(a, ":"); ok {
			return user + ":" + r.name(password)
		}
	case "-H", "--header", "--proxy-header":
		return r.fieldLine(a)
	case "-b", "--cookie":
		return r.cookies(a)
	case "-d", "--data", "--data-raw", "--data-binary", "--data-ascii", "--data-urlencode", "--json", "-F", "--form", "--form-string", "--url-query", "--post-data", "--body-data":
		return r.body(a)
	}
	if option != "" && !strings.Contains(option, "=") && sensitive(option) && !strings.HasPrefix(a, "-") {
		return r.name(a)
	}
	name, value, assigned := strings.Cut(a, "=")
	assigned = assigned && !strings.ContainsAny(name, ":/?&'\" \t\n")
	switch {
	case strings.ContainsAny(a, " \n") && shellOption().MatchString(option):
		a = r.script(a)
	case assigned && sensitive(name):
		return name + "=" + r.name(value)
	case assigned && strings.HasPrefix(name, "--"):
		return name + "=" + r.argument(name, value)
	case strings.ContainsAny(a, " \n"):
		a = r.script(a)
	}
	return r.body(r.fieldLine(a))
}

// word is a word of a shell, or a quoted part of one.
var word = pattern(`"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"';&|()]+`)

// script is text that a shell reads, as after sh -c: commands, one after the other.
func (r *Redactor) script(s string) string {
	var b strings.Builder
	w := words{r: r, begun: true}
	end := 0
	for _, at := range word().FindAllStringIndex(s, -1) {
		between, m := s[end:at[0]], s[at[0]:at[1]]
		if strings.ContainsAny(between, "\n;&|()") {
			w = words{r: r, begun: true}
		}
		if name, ok := strings.CutSuffix(s[:end], "="); ok && between == "" { // --name="…", NAME='…'
			w.option = name[strings.LastIndexAny(name, " \t\n;&|('\"")+1:]
		}
		b.WriteString(between)
		b.WriteString(w.quoted(m))
		end = at[1]
	}
	b.WriteString(s[end:])
	return b.String()
}

// quoted is the next word of a script, in its quotes.
func (w *words) quoted(m string) string {
	switch {
	case len(m) > 1 && m[0] == '"':
		return `"` + strings.ReplaceAll(w.next(strings.ReplaceAll(m[1:len(m)-1], `\"`, `"`)), `"`, `\"`) + `"`
	case len(m) > 1 && m[0] == '\'':
		return "'" + w.next(m[1:len(m)-1]) + "'"
	}
	if path.Base(m) == "curl" {
		w.curl = true
	}
	return w.next(m)
}
