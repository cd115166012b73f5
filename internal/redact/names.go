package redact

import (
	"strings"
)

// sensitive reports whether what has this name is a credential, in headers,
// parameters, fields, cookies and command lines alike.
func sensitive(name string) bool {
	n := plain(name)
	if harmless[n] || len(n) > 64 {
		return false
	}
	if exact[n] {
		return true
	}
	for _, part := range parts {
		if strings.Contains(n, part) {
			return true
		}
	}
	return false
}

// sensitiveParameter is sensitive, for a query or a form: some names are
// credentials there alone (RFC 6749, section 4.1.2).
func sensitiveParameter(name string) bool {
	switch plain(name) {
	case "code", "key", "state":
		return true
	}
	return sensitive(name)
}

// plain is a name without case and punctuation.
func plain(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c > 0x7f:
			return c
		}
		return -1
	}, name)
}

var parts = []string{"password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "privatekey", "credential", "signature", "sessionid", "sessid", "authkey", "bearer", "csrf", "xsrf"}

var exact = set("auth", "authorization", "proxyauthorization", "cookie", "setcookie", "jwt", "sid", "sig", "pwd", "pass", "otp", "pin", "session", "assertion", "clientassertion",
	"samlresponse", "samlrequest", "xauth", "xauthkey", "hmac", "cvv", "cvc")

// harmless have a telling part in their name and tell nothing.
var harmless = set("tokentype", "tokenendpoint", "tokenizer", "tokentypehint", "maxtokens", "totaltokens", "prompttokens", "completiontokens", "inputtokens", "outputtokens",
	"tokens", "secretname", "secretsmanager", "passwordresetrequired", "passwordauthentication", "idtokensigningalgvaluessupported", "accesscontrolallowcredentials", "xamzsignedheaders")

func set(names ...string) map[string]bool {
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}
