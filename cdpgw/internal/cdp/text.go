package cdp

import "unicode/utf8"

// Text is s where it is UTF-8, else s read as ISO 8859-1, so that no byte is
// lost to the replacement character.
func Text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r)
}
