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
	if strings.ContainsAny(a, " \n") {
		a = r.script(a)
	} else if name, value, ok := strings.Cut(a, "="); ok && !strings.ContainsAny(name, ":/?& ") && sensitive(name) {
		return name + "=" + r.name(value)
	}
	return r.body(r.fieldLine(a))
}

// What stands in a script, as after sh -c.
var (
	quotedField = pattern(`(["'])([A-Za-z0-9-]{1,60}): ?([^"'\n]*)`)
	password    = pattern(`((?:^|\s)(?:-u|-U|--user|--proxy-user)[ =]["']?[^\s:"']+:)([^\s"']+)`)
	assignment  = pattern(`((?:^|[\s;&|"'])-{0,2})([A-Za-z][A-Za-z0-9_.-]{0,60})(=| )(["']?)([^\s"';&|]+)`)
)

// script is text that a shell reads: quoted header lines, user:password, options
// and assignments with telling names.
func (r *Redactor) script(s string) string {
	s = quotedField().ReplaceAllStringFunc(s, func(m string) string {
		p := quotedField().FindStringSubmatch(m)
		return p[1] + r.fieldLine(p[2]+": "+p[3])
	})
	s = password().ReplaceAllStringFunc(s, func(m string) string {
		p := password().FindStringSubmatch(m)
		return p[1] + r.name(p[2])
	})
	return assignment().ReplaceAllStringFunc(s, func(m string) string {
		p := assignment().FindStringSubmatch(m)
		option := strings.HasSuffix(p[1], "-")
		if !sensitive(p[2]) || p[3] == " " && !option {
			return m
		}
		return p[1] + p[2] + p[3] + p[4] + r.name(p[5])
	})
}
