package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// bytesValue is a flag for a number of bytes: 1500, 64kB, 2GB, 1GiB.
type bytesValue int64

var byteUnits = []struct {
	suffix string
	size   float64
}{{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12}, {"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"t", 1e12}, {"b", 1}, {"", 1}}

// Set implements pflag.Value.
func (v *bytesValue) Set(s string) error {
	text := strings.ToLower(strings.ReplaceAll(s, " ", ""))
	for _, u := range byteUnits {
		number, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || !(n >= 0) || n*u.size > math.MaxInt64/2 {
			break
		}
		*v = bytesValue(n * u.size)
		return nil
	}
	return fmt.Errorf("%q is no size: 500MB, 2GB, 1GiB", s)
}

// String implements pflag.Value.
func (v *bytesValue) String() string {
	n := int64(*v)
	for _, u := range []struct {
		suffix string
		size   int64
	}{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}

// Type implements pflag.Value.
func (v *bytesValue) Type() string { return "size" }
