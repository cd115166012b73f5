package natsbus

import "github.com/nats-io/nats-server/v2/server"

// Clients is how many connections have a name, as given to Connect, and how many
// messages came from them.
func (s *Server) Clients(name string) (n int, messages int64) {
	z, err := s.nats.Connz(&server.ConnzOptions{})
	if err != nil {
		return 0, 0
	}
	for _, c := range z.Conns {
		if c.Name == name {
			n++
			messages += c.InMsgs
		}
	}
	return n, messages
}
