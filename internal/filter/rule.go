package filter

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// ExpectOption is what the user calls rules by.
const ExpectOption = "--expect"

// The names that make a rule one about all exchanges together.
const (
	exchangesName = "exchanges"
	verdictsName  = "verdicts"
)

// maxSetCost bounds the evaluation of a rule over all exchanges.
const maxSetCost = 1_000_000_000

// Rule is an expectation: of each exchange, or of all of them together.
type Rule struct {
	Text   string
	each   *Filter
	all    cel.Program
	idents map[string]bool
}

// CompileRule compiles a rule. One that speaks of exchanges or verdicts is about
// the lists of all; any other has to hold for each exchange.
func CompileRule(text string) (*Rule, error) {
	env := setEnv()
	if parsed, issues := env.Parse(text); issues.Err() == nil {
		if idents := identsOf(parsed); idents[exchangesName] || idents[verdictsName] {
			p, idents, err := compile(env, ExpectOption, text, maxSetCost)
			return &Rule{Text: text, all: p, idents: idents}, err
		}
	}
	p, idents, err := compile(rowEnv(), ExpectOption, text, maxCost)
	return &Rule{Text: text, each: &Filter{p, idents}, idents: idents}, err
}

// About reports whether the rule is about all exchanges together.
func (r *Rule) About() (all bool) { return r.all != nil }

// Uses reports whether the rule speaks of any of the names.
func (r *Rule) Uses(names ...string) bool { return uses(r.idents, names) }

// Holds evaluates a rule of each exchange for one.
func (r *Rule) Holds(x Row) (bool, error) { return r.each.Match(x) }

// HoldsForAll evaluates a rule about all exchanges together.
func (r *Rule) HoldsForAll(exchanges, verdicts []Row) (bool, error) {
	v, _, err := r.all.Eval(map[string]any{exchangesName: exchanges, verdictsName: verdicts})
	if err != nil {
		return false, err
	}
	return v == types.True, nil
}
