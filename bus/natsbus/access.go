package natsbus

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
)

// AccessEnv is the environment variable in which a role finds the path of its
// access file.
const AccessEnv = "CLIPPER_ACCESS"

// Access is how a process reaches a session's bus. It holds secrets: it belongs
// into a file of mode 0600, never into arguments or logs.
type Access struct {
	URL        string `json:"url"`        // nats://127.0.0.1:PORT, tls://host, comma separated
	Session    string `json:"session"`    // session id, part of every subject
	Partitions int    `json:"partitions"` // of the partitioned layers

	// Nkey seeds for the embedded server.
	Seed     string `json:"seed,omitempty"`     // every layer but Keys
	KeysSeed string `json:"keysSeed,omitempty"` // the Keys layer; only where it is needed
	Tap      bool   `json:"tap,omitempty"`      // Seed is that of the read-only user

	// An external cluster: credentials files and the authority of its
	// certificate. Without KeysCreds there is no Keys layer; it may name the
	// same file as Creds, though a separate account is better.
	Creds     string `json:"creds,omitempty"`
	KeysCreds string `json:"keysCreds,omitempty"`
	CA        string `json:"ca,omitempty"`

	// InProcess connects without a socket; for the process of the server.
	InProcess nats.InProcessConnProvider `json:"-"`
}

// WithoutKeys is a without the right to the Keys layer.
func (a Access) WithoutKeys() Access {
	a.KeysSeed, a.KeysCreds = "", ""
	return a
}

// HasKeys reports whether a has the right to the Keys layer.
func (a Access) HasKeys() bool { return a.KeysSeed != "" || a.KeysCreds != "" }

// WriteFile writes a to path, mode 0600. The file must not exist.
func (a Access) WriteFile(path string) error {
	data, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write access file: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	return errors.Join(err, f.Close())
}

// ReadAccess reads an access file. It refuses one that others may read.
func ReadAccess(path string) (Access, error) {
	var a Access
	f, err := os.Open(path)
	if err != nil {
		return a, fmt.Errorf("read access file: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return a, fmt.Errorf("read access file: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return a, fmt.Errorf("access file %s: mode is %04o, others may read it: run chmod 600", path, st.Mode().Perm())
	}
	if err := json.NewDecoder(f).Decode(&a); err != nil {
		return a, fmt.Errorf("access file %s: %w", path, err)
	}
	if err := a.check(); err != nil {
		return a, fmt.Errorf("access file %s: %w", path, err)
	}
	return a, nil
}

// AccessFromEnv reads the file that CLIPPER_ACCESS names.
func AccessFromEnv() (Access, error) {
	path := os.Getenv(AccessEnv)
	if path == "" {
		return Access{}, fmt.Errorf("natsbus: %s is not set: it names the access file of a session", AccessEnv)
	}
	return ReadAccess(path)
}

func (a Access) check() error {
	if err := checkSession(a.Session); err != nil {
		return err
	}
	if a.Partitions < 1 || a.Partitions > maxPartitions {
		return fmt.Errorf("natsbus: %d partitions (1 to %d are possible)", a.Partitions, maxPartitions)
	}
	if a.URL == "" && a.InProcess == nil {
		return errors.New("natsbus: no URL of a server")
	}
	return nil
}

const maxPartitions = 256

// checkSession admits what can stand in subjects and stream names.
func checkSession(id string) error {
	if id == "" || len(id) > 32 {
		return fmt.Errorf("natsbus: session id %q: 1 to 32 lower-case letters and digits", id)
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return fmt.Errorf("natsbus: session id %q: 1 to 32 lower-case letters and digits", id)
		}
	}
	return nil
}
