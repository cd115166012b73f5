package natsbus

import (
	"fmt"
	"strings"

	"clipper/bus"
	"github.com/nats-io/nkeys"
)

// user is an nkey user; the server is given the public half only.
type user struct{ seed, public string }

type users struct{ pipeline, keys, tap user }

func newUsers() (u users, err error) {
	for _, p := range []*user{&u.pipeline, &u.keys, &u.tap} {
		kp, err := nkeys.CreateUser()
		if err != nil {
			return u, fmt.Errorf("natsbus: make user: %w", err)
		}
		seed, err := kp.Seed()
		if err != nil {
			return u, fmt.Errorf("natsbus: make user: %w", err)
		}
		if p.public, err = kp.PublicKey(); err != nil {
			return u, fmt.Errorf("natsbus: make user: %w", err)
		}
		p.seed = string(seed)
	}
	return u, nil
}

// accounts is the server's configuration of three accounts, each a world of
// subjects of its own. Permissions within one account would not do: whoever may
// ask JetStream for anything chooses the subject of the answer, so a tap could
// have it delivered into a layer, and whoever may create a consumer may read
// any stream of the account. A tap's own account gets the layers as imports, a
// few read-only requests as services, and nothing of the Keys account.
func accounts(session string, u users) string {
	var exports, imports []string
	export := func(kind, subject, more string) {
		exports = append(exports, fmt.Sprintf("{%s: %q%s}", kind, subject, more))
		imports = append(imports, fmt.Sprintf("{%s: {account: PIPELINE, subject: %q}}", kind, subject))
	}
	for _, l := range bus.Layers {
		if l != bus.Keys {
			export("stream", "clipper."+session+"."+l.String()+".*", "")
		}
	}
	export("stream", "clipper."+session+".ctl.health.*", "")
	export("service", "$JS.API.DIRECT.GET.*", ", response: stream")
	export("service", "$JS.API.STREAM.INFO.*", "")
	export("service", "$JS.API.STREAM.NAMES", "")
	return fmt.Sprintf(`accounts {
  PIPELINE { jetstream: enabled, users: [{nkey: %s}], exports: [%s] }
  KEYS { jetstream: enabled, users: [{nkey: %s}] }
  TAP { users: [{nkey: %s}], imports: [%s] }
}`, u.pipeline.public, strings.Join(exports, ", "), u.keys.public, u.tap.public, strings.Join(imports, ", "))
}
