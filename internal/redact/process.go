package redact

import (
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
	before := ""
	for i, a := range argv {
		list[i] = r.argument(before, a)
		before = a
		if i == 0 || !strings.HasPrefix(a, "-") {
			before = ""
		}
	}
	return list
}

// argument is one argument; option is the one before it if that was an option.
func (r *Redactor) argument(option, a string) string {
	switch option {
	case "-u", "-U", "--user", "--proxy-user":
		if user, password, ok := strings.Cut(a, ":"); ok {
			return user + ":" + r.name(password)
		}
	case "-b", "--cookie":
		return r.cookies(a)
	case "-d", "--data", "--data-raw", "--data-binary", "--data-urlencode", "--json", "-F", "--form":
		return r.body(a)
	}
	if option != "" && !strings.Contains(option, "=") && sensitive(option) && !strings.HasPrefix(a, "-") {
		return r.name(a)
	}
	if name, value, ok := strings.Cut(a, "="); ok && !strings.ContainsAny(name, ":/?& ") && sensitive(name) {
		return name + "=" + r.name(value)
	}
	return r.body(r.fieldLine(a))
}
