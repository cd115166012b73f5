// Command httpdec is the role httpdec as a process of its own: bus.Plain in,
// bus.HTTP and bus.Body out.
package main

import "clipper/httpdec/role"

func main() { role.Main() }
