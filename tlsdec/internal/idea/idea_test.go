package idea

import (
	"testing"

	"clipper/tlsdec/internal/blocktest"
)

// TestVectors: Lai, table 3.4, and those of NESSIE's verified set.
func TestVectors(t *testing.T) {
	blocktest.Run(t, New, [][3]string{
		{"00010002000300040005000600070008", "0000000100020003", "11fbed2b01986de5"},
		{"00000000000000000000000000000001", "0000000000000000", "c57adbde27bc26cf"},
		{"00112233445566778899aabbccddeeff", "0001020304050607", "ed732271a7b39f47"},
		{"00112233445566778899aabbccddeeff", "f8f9fafbfcfdfeff", "2bcfad1fc6d4287d"},
	})
}
