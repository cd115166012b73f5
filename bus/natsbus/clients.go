package natsbus

import "github.com/nats-io/nats-server/v2/server"

// Clients is how many connections have a name, as given to Connect.
func (s *Server) Clients(name string) int {
	z, err := s.nats.Connz(&server.ConnzOptions{})
	if err != nil {
		return 0
	}
	n := 0
	for _, c := range z.Conns {
		if c.Name == name {
			n++
		}
	}
	return n
}
