package oauth

import (
	"slices"
	"strings"
)

const (
	maxScopes    = 64
	maxScopeText = 4 << 10

	// scopeUID is the scope that says nothing but who one is. Every client may ask for it, and gets it if it asks for
	// nothing and has no defaults of its own.
	scopeUID = "uid"
	// scopeAZP asks for the client's id in claim azp, which the tokens of this family carry only on request. It grants
	// nothing either.
	scopeAZP = "azp"
)

// parseScopes takes the parameter scope apart, in the order given, each once.
func parseScopes(text string) ([]string, error) {
	if len(text) > maxScopeText {
		return nil, refuse(invalidScope, "The scope parameter is too long.")
	}
	var list []string
	for s := range strings.SplitSeq(text, " ") {
		if s == "" || slices.Contains(list, s) {
			continue
		}
		if !scopeToken(s) {
			return nil, refuse(invalidScope, "A scope holds a character that no scope may hold.")
		}
		if list = append(list, s); len(list) > maxScopes {
			return nil, refuse(invalidScope, "Too many scopes.")
		}
	}
	return list, nil
}

// scopeToken is the grammar of RFC 6749 section 3.3. Since it has no quote, no backslash and nothing beyond ASCII, a
// scope may stand in an error description.
func scopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return false
		}
	}
	return s != ""
}

// sortedText is the form of the answer's scope: sorted, with spaces between.
func sortedText(scopes []string) string {
	sorted := slices.Clone(scopes)
	slices.Sort(sorted)
	return strings.Join(sorted, " ")
}
