package oauth

import (
	"slices"
	"strings"
)

// responseType is what a client wants back from the authorization endpoint (RFC 6749 section 3.1.1 and OAuth 2.0 Multiple
// Response Type Encoding Practices).
type responseType struct {
	name                 string // its words sorted, as the registry and a client's metadata have it
	code, token, idToken bool
}

// readResponseType reads the parameter, whose words may stand in any order; ok is false if there is no such type. "none"
// is not one of ours: nobody should come back with less than was asked for.
func readResponseType(text string) (t responseType, ok bool) {
	words := strings.Fields(text)
	for _, word := range words {
		switch word {
		case "code":
			t.code = true
		case "token":
			t.token = true
		case "id_token":
			t.idToken = true
		default:
			return t, false
		}
	}
	slices.Sort(words)
	t.name = strings.Join(words, " ")
	return t, len(words) > 0 && len(slices.Compact(words)) == len(words)
}

// front tells whether tokens come with the answer itself, through the browser.
func (t responseType) front() bool { return t.token || t.idToken }

// responseTypes are all that there are. Those beside code are for clients to which an administrator gave them.
var responseTypes = []string{"code", "token", "id_token", "id_token token", "code token", "code id_token", "code id_token token"}
