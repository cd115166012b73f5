package filter

import (
	"fmt"
	"regexp"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
)

// Error is an expression that cannot be used, with what to do.
type Error struct {
	Option string // "--filter"
	Expr   string
	Column int // of the mistake, from 1; 0: the expression as a whole
	Reason string
	Help   string
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n    %s\n", e.Option, e.Reason, strings.ReplaceAll(e.Expr, "\n", " "))
	if e.Column > 0 {
		fmt.Fprintf(&b, "    %s^\n", strings.Repeat(" ", e.Column-1))
	}
	b.WriteString(e.Help)
	return b.String()
}

// help is the list of names and an example.
func help(env *cel.Env, option string) string {
	var names []string
	for _, n := range rowNames {
		names = append(names, n.Name)
	}
	list := strings.Join(names[:13], ", ") + ",\n           " + strings.Join(names[13:], ", ")
	example := option + ` 'host == "example.com" && status >= 400'`
	if option == ExpectOption {
		example = option + ` 'status < 500' or ` + option + ` 'exchanges.exists(e, e.path == "/login")'`
		list = "exchanges, verdicts, or of each exchange:\n           " + list
	}
	return fmt.Sprintf("  names:   %s\n  example: %s\n  more:    clipper help filter", list, example)
}

// explain says the first mistake in words that a user of the command line knows.
func explain(env *cel.Env, option, expr string, issues *cel.Issues) error {
	first := issues.Errors()[0]
	e := &Error{Option: option, Expr: expr, Column: first.Location.Column() + 1, Reason: first.Message, Help: help(env, option)}
	if first.Location.Line() != 1 {
		e.Column = 0
	}
	unknownName := regexp.MustCompile(`^undeclared reference to '([^']*)'`)
	unknownField := regexp.MustCompile(`^undefined field '([^']*)'`)
	noOverload := regexp.MustCompile(`^found no matching overload for '_?([^'_]+)_?' applied to '\((.*)\)'`)
	switch m := first.Message; {
	case unknownName.MatchString(m):
		name := unknownName.FindStringSubmatch(m)[1]
		e.Reason = fmt.Sprintf("there is no name %q%s", name, meant(name, known(rowNames, exchangesName, verdictsName)))
	case unknownField.MatchString(m):
		name := unknownField.FindStringSubmatch(m)[1]
		e.Reason = fmt.Sprintf("there is no field %q%s", name, meant(name, known(rowNames, "headers", "size")))
	case noOverload.MatchString(m):
		part := noOverload.FindStringSubmatch(m)
		if part[1] == "!" {
			e.Reason = fmt.Sprintf("! needs something that is true or false, not a value of the type %s", part[2])
		} else {
			e.Reason = fmt.Sprintf("%s does not go with values of the types %s", part[1], strings.ReplaceAll(part[2], ", ", " and "))
		}
	case strings.HasPrefix(m, "Syntax error: "):
		e.Reason = "this cannot be understood: " + strings.TrimPrefix(m, "Syntax error: ")
		if strings.Contains(m, "token recognition error at: '= '") || strings.Contains(m, "token recognition error at: '='") {
			e.Reason = "a comparison is written with == and strings stand in quotes"
		}
	}
	return e
}

func known(names []Name, more ...string) []string {
	for _, n := range names {
		more = append(more, n.Name)
	}
	return more
}

// meant proposes the name that is most like the one given.
func meant(name string, names []string) string {
	best, least := "", 3
	for _, n := range names {
		if d := distance(strings.ToLower(name), n); d < least && d < len(n) {
			best, least = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (do you mean %s?)", best)
}

// distance is how many letters must be changed, added or left out.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// identsOf are the names that an expression speaks of.
func identsOf(a *cel.Ast) map[string]bool {
	idents := map[string]bool{}
	ast.PostOrderVisit(a.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind:
			idents[e.AsIdent()] = true
		case ast.SelectKind:
			idents[e.AsSelect().FieldName()] = true
		}
	}))
	return idents
}
