package keyhook

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// TestMain makes the test binary stand in for the product's executable: the
// role, and for `clipper keys`.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "keyhook":
			os.Exit(Main())
		case "keys":
			os.Exit(keysMain(os.Args[2:]))
		case "serve":
			os.Exit(serveMain(os.Args[2], os.Args[3]))
		}
	}
	flag.Parse()
	os.Exit(m.Run())
}

// keysMain is RunKeys: KEYLOG JSON COMMAND...
func keysMain(args []string) int {
	keyLog, err := os.Create(args[0])
	if err != nil {
		panic(err)
	}
	attribution, err := os.Create(args[1])
	if err != nil {
		panic(err)
	}
	code, err := RunKeys(context.Background(), args[2:], KeysOptions{KeyLog: keyLog, JSON: attribution, old: os.Getenv("KEYHOOK_TEST_OLD") != ""})
	if err != nil {
		fmt.Fprintln(os.Stderr, "keys:", err)
	}
	return code
}

// serveMain is the role with files in the place of the bus.
func serveMain(keyLogFile, jsonFile string) int {
	open := func(name string) *os.File {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			panic(err)
		}
		return f
	}
	o, err := ParseOptions()
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err = Serve(ctx, o, &keyWriter{keyLog: open(keyLogFile), json: open(jsonFile)})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		return 1
	}
	return 0
}
