package filter

import (
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"clipper/bus"
)

// headers are field lines as sent.
type headers []bus.Field

// fields is a map of field lines to CEL: names are compared without case, and one
// that is not there is the empty string, so that an expression need not ask first.
type fields struct {
	traits.Mapper // by lower-case name
}

func newFields(a types.Adapter, list headers) fields {
	m := make(map[string]string, len(list))
	for _, f := range list {
		name := strings.ToLower(f.Name)
		if old, ok := m[name]; ok {
			m[name] = old + ", " + f.Value
		} else {
			m[name] = f.Value
		}
	}
	return fields{types.NewStringStringMap(a, m)}
}

func lower(key ref.Val) ref.Val {
	if s, ok := key.(types.String); ok {
		return types.String(strings.ToLower(string(s)))
	}
	return key
}

// Contains implements traits.Container: "accept" in request.headers.
func (f fields) Contains(key ref.Val) ref.Val { return f.Mapper.Contains(lower(key)) }

// Find implements traits.Mapper.
func (f fields) Find(key ref.Val) (ref.Val, bool) {
	if v, ok := f.Mapper.Find(lower(key)); ok {
		return v, true
	}
	return types.String(""), true
}

// Get implements traits.Indexer.
func (f fields) Get(key ref.Val) ref.Val {
	v, _ := f.Find(key)
	return v
}
