package cdpgw

import (
	"encoding/base64"
	"fmt"
	"strconv"
)

func (g *Gateway) targetInfo(id string, attached bool) object {
	return object{
		"targetId": id, "type": "node", "title": "Clipper: " + g.o.Title, "url": "process://" + strconv.Itoa(g.o.AppPID) + "/",
		"attached": attached, "canAccessOpener": false,
	}
}

// doTarget answers the domains Target and Browser, as far as clients need them
// to connect and to find the session's target.
func (c *client) doTarget(m *call, s *session, targetID, sessionID string) (any, *callError) {
	g := c.g
	switch m.Method {
	case "Target.getTargets":
		return object{"targetInfos": []object{g.targetInfo(g.o.SecretPath, false)}}, nil
	case "Target.getTargetInfo":
		if targetID == "" {
			targetID = g.o.SecretPath
		}
		if _, ok := g.target(targetID); !ok {
			return nil, &callError{codeParams, "No target with given id found"}
		}
		return object{"targetInfo": g.targetInfo(targetID, true)}, nil
	case "Target.getBrowserContexts":
		return object{"browserContextIds": []any{}}, nil
	case "Target.attachToTarget":
		scope, ok := g.target(targetID)
		if !ok {
			return nil, &callError{codeParams, "No target with given id found"}
		}
		c.mu.Lock()
		c.attached++
		id := "session-" + strconv.Itoa(c.attached)
		c.mu.Unlock()
		if c.addSession(id, scope) == nil {
			return nil, &callError{codeServer, "too many sessions"}
		}
		c.event(s.id, "Target.attachedToTarget", object{"sessionId": id, "targetInfo": g.targetInfo(targetID, true), "waitingForDebugger": false})
		return object{"sessionId": id}, nil
	case "Target.detachFromTarget":
		if sessionID != "" {
			c.removeSession(sessionID)
		}
		return object{}, nil
	case "Browser.getVersion":
		return object{"protocolVersion": "1.3", "product": product, "revision": "", "userAgent": product, "jsVersion": "0"}, nil
	case "Browser.close":
		return nil, &callError{codeServer, "Clipper ends with its session"}
	}
	return nil, &callError{codeMethod, fmt.Sprintf("'%.100s' wasn't found", m.Method)}
}

// certificates is the chain of an origin, base64 of DER, leaf first.
func (g *Gateway) certificates(origin string) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := []string{}
	for _, der := range g.translate.Certificates(origin) {
		out = append(out, base64.StdEncoding.EncodeToString(der))
	}
	return out
}

// protocolSummary is /json/protocol: the domains, without their commands.
func protocolSummary() any {
	domains := []object{}
	for _, d := range []string{"Network", "Runtime", "Debugger", "Target", "Browser"} {
		domains = append(domains, object{"domain": d})
	}
	return object{"version": object{"major": "1", "minor": "3"}, "domains": domains}
}
