package natsbus

import (
	"os"
	"testing"
)

// roleEnv makes the test binary a decoder process.
const roleEnv = "NATSBUS_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) == "toy" {
		StageMain("toy", newToy)
		os.Exit(0)
	}
	os.Exit(m.Run())
}
