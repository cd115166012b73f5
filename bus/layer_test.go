package bus

import "testing"

func TestLayers(t *testing.T) {
	for _, l := range Layers {
		if got, err := ParseLayer(l.String()); err != nil || got != l {
			t.Errorf("%v: %v, %v", l, got, err)
		}
	}
	for _, name := range []string{"", "layer9", "TCP", "ctl"} {
		if l, err := ParseLayer(name); err == nil {
			t.Errorf("%q is layer %v", name, l)
		}
	}
	if s := Layer(200).String(); s != "layer200" {
		t.Error(s)
	}
	if s := Subject("ab1", HTTP, 3); s != "clipper.ab1.http.3" {
		t.Error(s)
	}
	if s := StreamName("ab1", HTTP, 3); s != "CLIPPER_AB1_http_3" {
		t.Error(s)
	}
	if Keys.StreamCount(4) != 1 || Proc.StreamCount(4) != ProcWriters || TCP.StreamCount(4) != 4 {
		t.Error("stream counts")
	}
}

func TestConnID(t *testing.T) {
	var c ConnID
	if err := c.UnmarshalText([]byte("00000000000000ff")); err != nil || c != 255 || c.String() != "00000000000000ff" {
		t.Error(c, err)
	}
	for _, s := range []string{"", "x", "-1", "10000000000000000"} {
		if err := c.UnmarshalText([]byte(s)); err == nil {
			t.Errorf("%q is %v", s, c)
		}
	}
}
