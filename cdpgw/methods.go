package cdpgw

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"clipper/cdpgw/internal/translate"
)

// call is a message of a client.
type call struct {
	ID        *int64          `json:"id"`
	Method    string          `json:"method"`
	Params    json.RawMessage `json:"params"`
	SessionID string          `json:"sessionId"`
}

// Error codes of the protocol (JSON-RPC 2.0, section 5.1).
const (
	codeParse    = -32700
	codeInvalid  = -32600
	codeMethod   = -32601
	codeParams   = -32602
	codeServer   = -32000
	codeNoTarget = -32001
)

// callError is an answer to a call that can't be done.
type callError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *callError) Error() string { return e.Message }

type object = map[string]any

// empty are the methods whose answer is {}: what they set up is not needed, or
// does nothing on a passive target.
var empty = map[string]bool{}

func init() {
	for domain, methods := range map[string]string{
		"Network": "enable disable setCacheDisabled setAttachDebugStack overrideNetworkState " +
			"configureDurableMessages clearAcceptedEncodingsOverride setAcceptedEncodings setBypassServiceWorker enableReportingApi " +
			"enableDeviceBoundSessions setExtraHTTPHeaders setUserAgentOverride clearBrowserCache clearBrowserCookies",
		"Runtime": "enable disable runIfWaitingForDebugger setAsyncCallStackDepth discardConsoleEntries releaseObjectGroup releaseObject addBinding " +
			"setMaxCallStackSizeToCapture compileScript",
		"Debugger": "enable disable setPauseOnExceptions setAsyncCallStackDepth setBlackboxPatterns setBlackboxExecutionContexts " +
			"setBreakpointsActive setSkipAllPauses",
		"Profiler":  "enable disable",
		"Log":       "enable disable clear startViolationsReport stopViolationsReport",
		"Inspector": "enable disable",
		"Target":    "setAutoAttach setDiscoverTargets setRemoteLocations activateTarget",
		"Browser":   "setDownloadBehavior",
	} {
		for _, m := range strings.Fields(methods) {
			empty[domain+"."+m] = true
		}
	}
}

// call answers one message.
func (c *client) call(b []byte) {
	var m call
	if err := json.Unmarshal(b, &m); err != nil {
		c.sendJSON(object{"error": callError{codeParse, "Message must be a valid JSON object with id and method"}})
		return
	}
	if m.ID == nil || m.Method == "" {
		c.sendJSON(object{"error": callError{codeInvalid, "Message must have integer 'id' and string 'method' properties"}})
		return
	}
	c.mu.Lock()
	s := c.sessions[m.SessionID]
	c.mu.Unlock()
	if s == nil {
		c.fail(&m, codeNoTarget, "Session with given id not found.")
		return
	}
	switch m.Method {
	case "Network.getResponseBody", "Network.getRequestPostData", "Network.searchInResponseBody", "Network.streamResourceContent":
		c.later(&m, s)
		return
	}
	result, err := c.do(&m, s)
	if err != nil {
		c.fail(&m, err.Code, err.Message)
		return
	}
	c.result(&m, result)
	c.after(&m, s)
}

func (c *client) result(m *call, v any) {
	c.sendJSON(struct {
		ID        int64  `json:"id"`
		Result    any    `json:"result"`
		SessionID string `json:"sessionId,omitempty"`
	}{*m.ID, v, m.SessionID})
}

func (c *client) fail(m *call, code int, message string) {
	c.sendJSON(struct {
		ID        int64     `json:"id"`
		Error     callError `json:"error"`
		SessionID string    `json:"sessionId,omitempty"`
	}{*m.ID, callError{code, message}, m.SessionID})
}

// do answers what needs no wait.
func (c *client) do(m *call, s *session) (any, *callError) {
	var p struct {
		Origin    string `json:"origin"`
		ScriptID  string `json:"scriptId"`
		TargetID  string `json:"targetId"`
		SessionID string `json:"sessionId"`
	}
	if len(m.Params) > 0 {
		if err := json.Unmarshal(m.Params, &p); err != nil {
			return nil, &callError{codeParams, "Invalid parameters: " + err.Error()}
		}
	}
	if empty[m.Method] && m.Method != "Debugger.enable" {
		return object{}, nil
	}
	switch m.Method {
	case "Debugger.enable":
		return object{"debuggerId": "clipper"}, nil
	case "Debugger.getScriptSource":
		return object{"scriptSource": c.g.processText(p.ScriptID)}, nil
	case "Debugger.getPossibleBreakpoints":
		return object{"locations": []any{}}, nil
	case "Network.emulateNetworkConditions", "Network.emulateNetworkConditionsByRule", "Network.setBlockedURLs":
		return c.changeNetwork(m)
	case "Network.canEmulateNetworkConditions":
		return object{"result": c.g.o.Conditions != nil}, nil
	case "Network.getCertificate":
		return object{"tableNames": c.g.certificates(p.Origin)}, nil
	case "Network.getCookies", "Network.getAllCookies", "Storage.getCookies":
		return object{"cookies": []any{}}, nil
	case "Runtime.getIsolateId":
		return object{"id": "clipper"}, nil
	case "Runtime.getHeapUsage":
		return object{"usedSize": 0, "totalSize": 0, "embedderHeapUsedSize": 0, "backingStorageSize": 0}, nil
	case "Runtime.globalLexicalScopeNames":
		return object{"names": []any{}}, nil
	case "Runtime.evaluate", "Runtime.callFunctionOn":
		return object{"result": object{"type": "string", "value": "Clipper watches a native program: there is no JavaScript here"}}, nil
	case "Schema.getDomains":
		return object{"domains": []object{{"name": "Network", "version": "1.3"}}}, nil
	}
	if strings.HasPrefix(m.Method, "Target.") || strings.HasPrefix(m.Method, "Browser.") {
		return c.doTarget(m, s, p.TargetID, p.SessionID)
	}
	return nil, &callError{codeMethod, fmt.Sprintf("'%.100s' wasn't found", m.Method)}
}

// after does what follows an answer.
func (c *client) after(m *call, s *session) {
	switch m.Method {
	case "Runtime.enable":
		c.event(s.id, "Runtime.executionContextCreated", object{"context": object{
			"id": 1, "origin": "", "name": c.g.o.Title, "uniqueId": "clipper." + s.id, "auxData": object{"isDefault": true, "type": "default"},
		}})
	case "Debugger.enable":
		c.mu.Lock()
		s.debugger, s.frontend = true, true
		c.mu.Unlock()
		c.nudge()
	case "Debugger.disable":
		c.mu.Lock()
		s.debugger = false
		c.mu.Unlock()
	case "Network.enable":
		c.mu.Lock()
		if s.network.IsZero() && !(c.browser && s.id == "") {
			s.network = time.Now()
			if s.frontend && !c.own {
				s.network = s.network.Add(frontendDelay)
			}
		}
		c.mu.Unlock()
		c.nudge()
	case "Network.disable":
		c.mu.Lock()
		s.network = time.Time{}
		c.mu.Unlock()
	case "Target.setDiscoverTargets":
		c.event(s.id, "Target.targetCreated", object{"targetInfo": c.g.targetInfo(c.g.o.SecretPath, false)})
	}
}

// processText is the source of a process's script.
func (g *Gateway) processText(scriptID string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.processes {
		if p.ID() == scriptID {
			return p.Source()
		}
	}
	return ""
}

// lookup finds the exchange of a request id, and its note if it has one.
func (g *Gateway) lookup(requestID string) (m translate.Message, note string, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if conn, note, ok := g.translate.Note(requestID); ok {
		return translate.Message{Conn: conn}, note, true
	}
	m, ok = g.translate.Message(requestID)
	return m, "", ok
}
