// Package filter is the language in which a user says which exchanges are meant:
// expressions of CEL (the Common Expression Language, https://cel.dev) over the
// facts of an exchange. What flows in are an expression, once, and exchanges;
// what flows out is yes or no.
package filter

import (
	"fmt"
	"reflect"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
)

// Limits on expressions, which may come from a file that somebody else wrote.
const (
	maxLength = 16 << 10 // characters
	maxDepth  = 100      // of the expression tree
	// maxCost bounds one evaluation, in CEL's units: about one for each step and
	// for each ten characters looked at.
	maxCost = 1_000_000
)

// Filter is a compiled expression; nil lets everything pass. It is safe for
// concurrent use.
type Filter struct {
	program cel.Program
	idents  map[string]bool
}

// Compile compiles an expression over one exchange. option is what the user
// called it by, for the error's text: "--filter". The empty expression gives nil.
func Compile(option, expr string) (*Filter, error) {
	if expr == "" {
		return nil, nil
	}
	p, idents, err := compile(rowEnv(), option, expr, maxCost)
	if err != nil {
		return nil, err
	}
	return &Filter{p, idents}, nil
}

// Match evaluates the filter. The error is that of an expression which cannot
// be evaluated for this row: a division by zero, or too much work.
func (f *Filter) Match(r Row) (bool, error) {
	if f == nil {
		return true, nil
	}
	v, _, err := f.program.Eval(r)
	if err != nil {
		return false, err
	}
	return v == types.True, nil
}

// OfProcess are the names of facts that come from the process.
var OfProcess = []string{"process", "pid", "command"}

// Uses reports whether the expression speaks of any of the names.
func (f *Filter) Uses(names ...string) bool {
	return f != nil && uses(f.idents, names)
}

func uses(idents map[string]bool, names []string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return idents[n] })
}

// base are the options that both environments share.
func base() []cel.EnvOption {
	registry, err := types.NewRegistry()
	if err != nil {
		panic(err) // no user types: it cannot fail
	}
	return []cel.EnvOption{
		cel.CustomTypeProvider(provider{registry}),
		cel.CustomTypeAdapter(adapter{registry}),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(maxLength),
		cel.ParserRecursionLimit(maxDepth),
		ext.Strings(), ext.Math(),
	}
}

// rowEnv has the names of one exchange.
func rowEnv() *cel.Env {
	o := base()
	for _, n := range rowNames {
		o = append(o, cel.Variable(n.Name, n.celType))
	}
	return newEnv(o)
}

// setEnv has the lists of all.
func setEnv() *cel.Env {
	return newEnv(append(base(), cel.Variable(exchangesName, cel.ListType(rowType)), cel.Variable(verdictsName, cel.ListType(rowType))))
}

func newEnv(o []cel.EnvOption) *cel.Env {
	env, err := cel.NewEnv(o...)
	if err != nil {
		panic(fmt.Sprintf("filter: the environment is wrong: %v", err)) // constant: a test makes it
	}
	return env
}

// compile checks and plans an expression that must be true or false.
func compile(env *cel.Env, option, expr string, cost uint64) (cel.Program, map[string]bool, error) {
	ast, issues := env.Compile(expr)
	if issues.Err() != nil {
		return nil, nil, explain(env, option, expr, issues)
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) {
		return nil, nil, &Error{Option: option, Expr: expr, Reason: fmt.Sprintf("this is a value of the type %s; something that is true or false is needed", t), Help: help(env, option)}
	}
	p, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(cost))
	if err != nil {
		return nil, nil, &Error{Option: option, Expr: expr, Reason: err.Error(), Help: help(env, option)}
	}
	return p, identsOf(ast), nil
}

// provider knows the fields of rows and messages, besides what CEL has.
type provider struct{ types.Provider }

func (p provider) FindStructType(name string) (*types.Type, bool) {
	if fieldsOf(name) != nil {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Provider.FindStructType(name)
}

func (p provider) FindStructFieldNames(name string) ([]string, bool) {
	fields := fieldsOf(name)
	if fields == nil {
		return p.Provider.FindStructFieldNames(name)
	}
	var names []string
	for _, f := range fields {
		names = append(names, f.Name)
	}
	return names, true
}

func (p provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	fields := fieldsOf(name)
	if fields == nil {
		return p.Provider.FindStructFieldType(name, field)
	}
	for _, f := range fields {
		if f.Name == field {
			return &types.FieldType{Type: f.celType, IsSet: func(any) bool { return true },
				GetFrom: func(obj any) (any, error) {
					row, err := rowOf(obj)
					if err != nil {
						return nil, err
					}
					return f.get(row), nil
				}}, true
		}
	}
	return nil, false
}

// rowOf is the row behind what CEL holds for it.
func rowOf(v any) (Row, error) {
	switch v := v.(type) {
	case Row:
		return v, nil
	case message:
		return v.Row, nil
	case object:
		return v.row, nil
	}
	return Row{}, fmt.Errorf("a %T has no such fields", v)
}

// adapter makes CEL values of rows.
type adapter struct{ types.Adapter }

func (a adapter) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case Row:
		return object{v, rowType}
	case message:
		return object{v.Row, messageTypes[v.dir]}
	case headers:
		return newFields(a, v)
	case []Row:
		return types.NewDynamicList(a, v)
	}
	return a.Adapter.NativeToValue(v)
}

// object is a row, or a message of it, as a CEL value: something with fields.
type object struct {
	row Row
	typ *types.Type
}

var _ ref.Val = object{}

func (o object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("no conversion of %s to %v", o.typ, t)
}

func (o object) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return o.typ
	}
	return types.NewErr("no conversion of %s to %s", o.typ, t.TypeName())
}

func (o object) Equal(other ref.Val) ref.Val {
	p, ok := other.(object)
	return types.Bool(ok && p.typ == o.typ && p.row.Exchange == o.row.Exchange)
}

func (o object) Type() ref.Type { return o.typ }
func (o object) Value() any     { return o.row }
