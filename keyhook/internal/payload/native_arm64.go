package payload

// Native generates code for this program's architecture.
var Native Arch = ARM64{}

// Of this program's architecture.
const (
	Reach    = ReachARM64
	GateSize = GateSizeARM64
	LoadSize = 0
)
