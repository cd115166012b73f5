package cdp

// Initiator is Network.Initiator.
type Initiator struct {
	Type  string      `json:"type"`
	Stack *StackTrace `json:"stack,omitempty"`
}

// StackTrace is Runtime.StackTrace.
type StackTrace struct {
	CallFrames []CallFrame `json:"callFrames"`
}

// CallFrame is Runtime.CallFrame.
type CallFrame struct {
	FunctionName string `json:"functionName"`
	ScriptID     string `json:"scriptId"`
	URL          string `json:"url"`
	LineNumber   int    `json:"lineNumber"`
	ColumnNumber int    `json:"columnNumber"`
}

// ScriptParsed is Debugger.scriptParsed. Without it the frontend does not show
// the call frames that name the script.
type ScriptParsed struct {
	ScriptID           string `json:"scriptId"`
	URL                string `json:"url"`
	StartLine          int    `json:"startLine"`
	StartColumn        int    `json:"startColumn"`
	EndLine            int    `json:"endLine"`
	EndColumn          int    `json:"endColumn"`
	ExecutionContextID int    `json:"executionContextId"`
	Hash               string `json:"hash"`
	BuildID            string `json:"buildId"`
	Length             int    `json:"length"`
	ScriptLanguage     string `json:"scriptLanguage"`
}
