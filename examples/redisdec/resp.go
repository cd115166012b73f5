package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxValue bounds what one value may take, in bytes; maxDepth how deep arrays
// may lie in each other.
const (
	maxValue = 256 << 10
	maxDepth = 8
)

var errTooLarge = fmt.Errorf("a value of more than %d bytes", maxValue)

// errMore says that the value goes on behind the bytes that are there.
var errMore = errors.New("the value is not complete")

// value is a value of the Redis serialization protocol (RESP 2).
type value struct {
	kind  byte // '+' simple string, '-' error, ':' integer, '$' bulk string, '*' array
	text  string
	null  bool
	items []value
}

// parse reads the value that b begins with and returns how long it is.
func parse(b []byte) (v value, n int, err error) {
	v, n, err = parseValue(b, 0)
	if n > maxValue || err == errMore && len(b) > maxValue {
		err = errTooLarge
	}
	return v, n, err
}

func parseValue(b []byte, depth int) (v value, n int, err error) {
	end := bytes.Index(b, []byte("\r\n"))
	if end < 0 {
		return v, 0, errMore
	}
	if end == 0 || depth > maxDepth {
		return v, 0, fmt.Errorf("no value of the Redis protocol: %.20q", b)
	}
	v.kind, v.text, n = b[0], string(b[1:end]), end+2
	switch v.kind {
	case '+', '-', ':':
		return v, n, nil
	case '$', '*':
	default:
		return v, 0, fmt.Errorf("unknown kind of value %q", v.kind)
	}
	size, err := strconv.Atoi(v.text)
	switch {
	case err != nil || size < -1:
		return v, 0, fmt.Errorf("length %.20q", v.text)
	case size > maxValue:
		return v, 0, errTooLarge
	case size == -1:
		v.null, v.text = true, ""
		return v, n, nil
	}
	if v.kind == '$' {
		if len(b) < n+size+2 {
			return v, 0, errMore
		}
		v.text = string(b[n : n+size])
		return v, n + size + 2, nil
	}
	v.text = ""
	for range size {
		item, k, err := parseValue(b[n:], depth+1)
		if err != nil {
			return v, 0, err
		}
		v.items = append(v.items, item)
		n += k
	}
	return v, n, nil
}

// String is the value as redis-cli prints it, more or less.
func (v value) String() string {
	switch {
	case v.null:
		return "(nil)"
	case v.kind == '*':
		var s []string
		for _, item := range v.items {
			s = append(s, item.String())
		}
		return strings.Join(s, "\n")
	}
	return v.text
}
