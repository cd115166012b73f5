package rc2

import (
	"testing"

	"clipper/tlsdec/internal/blocktest"
)

// TestVectors: those of RFC 2268, section 5, with all bits of the key effective.
func TestVectors(t *testing.T) {
	blocktest.Run(t, New, [][3]string{
		{"ffffffffffffffff", "ffffffffffffffff", "278b27e42e2f0d49"},
		{"3000000000000000", "1000000000000001", "30649edf9be7d2c2"},
		{"88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "2269552ab0f85ca6"},
	})
}
