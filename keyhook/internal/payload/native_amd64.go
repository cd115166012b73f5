package payload

// Native generates code for this program's architecture.
var Native Arch = AMD64{}

// Of this program's architecture.
const (
	Reach    = ReachAMD64
	GateSize = GateSizeAMD64
	LoadSize = LoadSizeAMD64
)
