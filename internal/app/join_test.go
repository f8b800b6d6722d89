package app

import (
	"testing"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
)

// What a client gets for a person, or from elsewhere, gives nobody the rights of a person or of a service user here.
func TestTokensSpeakForTheirApplicationAlone(t *testing.T) {
	client := registry.Client{ID: "cli_1", Application: "jane", UserID: "usr_1", Username: "jane", Realm: "services"}
	for _, subject := range []string{"jane", "cli_1"} {
		got, err := spokenFor(&oauth.Claims{Subject: subject, Realm: "services"}, client)
		if err != nil || got.UserID != "usr_1" || got.Realm != "services" || got.Application != "jane" {
			t.Errorf("%s: %+v, %v", subject, got, err)
		}
	}
	for name, claims := range map[string]*oauth.Claims{
		"a person who let the application act":     {Subject: "usr_2", Realm: "employees"},
		"a person of the service user's name":      {Subject: "jane", Realm: "employees"},
		"somebody else's service user":             {Subject: "joe", Realm: "services"},
		"a token that does not say for whom it is": {Realm: "services"},
	} {
		if got, err := spokenFor(claims, client); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
