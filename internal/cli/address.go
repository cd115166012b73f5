package cli

import (
	"fmt"
	"net"
	"strconv"
)

// devToolsAddress is the value of --devtools as HOST:PORT; a port alone, and the name
// localhost, mean 127.0.0.1.
func devToolsAddress(value string) (string, error) {
	if value == "" {
		return "", nil
	}
	if _, err := strconv.ParseUint(value, 10, 16); err == nil {
		value = ":" + value
	}
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		return "", usageError{fmt.Errorf("--devtools=%s: an address is HOST:PORT, for example 127.0.0.1:9229", value)}
	}
	if host == "" || host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return "", usageError{fmt.Errorf("--devtools=%s: DevTools shows decrypted traffic and is served to this machine only: --devtools=127.0.0.1:%[2]s (from another machine: ssh -L %[2]s:127.0.0.1:%[2]s)", value, port)}
	}
	return net.JoinHostPort(host, port), nil
}
