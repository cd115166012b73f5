package natsbus

import (
	"os"
	"testing"

	"clipper/bus"
)

// roleEnv makes the test binary a decoder process.
const roleEnv = "NATSBUS_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "toy":
		StageMain("toy", newToy)
		os.Exit(0)
	case "forgetful":
		StageMain("forgetful", func() bus.Stage { return withoutSnapshots{makeToy()} })
		os.Exit(0)
	}
	os.Exit(m.Run())
}
