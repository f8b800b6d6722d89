package registry

import (
	"testing"
)

const fuzzKey = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"one","use":"sig"}`

// A parser that refuses every seed would be fuzzed in vain.
func TestRegistrationSeedsLoad(t *testing.T) {
	if _, err := parseClientKey([]byte(fuzzKey)); err != nil {
		t.Error(err)
	}
	if _, keys, err := parseRegistration([]byte(fuzzRegistration), false); err != nil || len(keys) != 1 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

const fuzzRegistration = `{"client_name":"Tool","redirect_uris":["https://tool.example.org/cb"],"grant_types":["authorization_code"],"jwks":{"keys":[` + fuzzKey + `]},"default_max_age":5,"made_up":[1]}`

// Whatever a stranger sends, it is refused by a sentence or is within bounds; nothing is read that only administrators say.
func FuzzParseRegistration(f *testing.F) {
	f.Add([]byte(fuzzRegistration), false)
	f.Add([]byte(`{"client_id":"cli_x","client_secret":"s","first_party":true,"FIRST_PARTY":true}`), true)
	f.Add([]byte(`{"redirect_uris":[null]}`), false)
	f.Fuzz(func(t *testing.T, b []byte, update bool) {
		in, keys, err := parseRegistration(b, update)
		if err != nil {
			return
		}
		m := metadataOf(in.ClientMetadata)
		if m.FirstParty || len(m.PersonScopes) > 0 || m.PKCEOptional || m.PersonPassword || m.AccessTokenLife != 0 || !update && in.ClientID != "" || in.RegistrationToken != "" || len(keys) > maxProofs {
			t.Errorf("%s gave %+v", b, in)
		}
		s, confidential, err := in.settings(strangers, true)
		if err != nil || checkStandalone(&s, confidential) != nil {
			return
		}
		column, err := s.Metadata.column()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseMetadata(column); err != nil {
			t.Errorf("%s is not read again: %v", column, err)
		}
	})
}
