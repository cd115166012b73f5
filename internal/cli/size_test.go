package cli

import "testing"

func TestBytesValue(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "1500": 1500, "64kB": 64_000, "2GB": 2_000_000_000, "1.5 MiB": 3 << 19, "1g": 1e9, "7B": 7} {
		var v bytesValue
		if err := v.Set(in); err != nil || int64(v) != want {
			t.Errorf("%q = %d, %v, want %d", in, v, err, want)
		}
	}
	for _, in := range []string{"", "x", "-1", "1XB", "1e30", "nan", "inf", "1e400GB"} {
		var v bytesValue
		if err := v.Set(in); err == nil {
			t.Errorf("%q = %d", in, v)
		}
	}
	for v, want := range map[bytesValue]string{2_000_000_000: "2GB", 1_500_000: "1500kB", 7: "7", 0: "0"} {
		if got := v.String(); got != want {
			t.Errorf("%d = %q, want %q", int64(v), got, want)
		}
	}
}
