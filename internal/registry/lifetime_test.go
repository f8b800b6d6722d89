package registry_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/registry"
)

// The client's own setting counts before that of the realm for the grant, that before the realm's, and the bounds over
// all of them.
func TestLifetimes(t *testing.T) {
	services, customers := realm.Realm{Name: "services", Kind: realm.Services}, realm.Realm{Name: "customers", Kind: realm.People}
	const day = 24 * time.Hour
	set := registry.Lifetimes{
		Realms: map[string]registry.RealmLifetimes{"customers": {
			Access: time.Hour, Grants: map[string]time.Duration{"device": 2 * time.Hour, "long": 40 * time.Hour}, IDToken: time.Second,
			RefreshIdle: 50 * day, RefreshAbsolute: 60 * day,
		}},
		Min: time.Minute, Max: 3 * time.Hour, MaxRefresh: 90 * day,
	}
	of := func(access time.Duration) registry.Metadata { return registry.Metadata{AccessTokenLife: access} }
	for name, c := range map[string]struct {
		got  registry.Life
		life time.Duration
		from string
	}{
		"default of services":  {registry.Lifetimes{}.Access(of(0), services, "password"), 8 * time.Hour, "default"},
		"default of people":    {registry.Lifetimes{}.Access(of(0), customers, "x"), 10 * time.Minute, "default"},
		"default bound":        {registry.Lifetimes{}.Access(of(100*time.Hour), customers, "x"), day, "bound"},
		"no bound beyond ours": {registry.Lifetimes{Max: 100 * time.Hour}.Access(of(100*time.Hour), customers, "x"), day, "bound"},
		"realm":                {set.Access(of(0), customers, "x"), time.Hour, "realm"},
		"grant":                {set.Access(of(0), customers, "device"), 2 * time.Hour, "grant"},
		"client":               {set.Access(of(30*time.Minute), customers, "device"), 30 * time.Minute, "client"},
		"client beyond":        {set.Access(of(4*time.Hour), customers, "device"), 3 * time.Hour, "bound"},
		"client below":         {set.Access(of(time.Second), customers, "device"), time.Minute, "bound"},
		"grant beyond":         {set.Access(of(0), customers, "long"), 3 * time.Hour, "bound"},
		"default beyond":       {set.Access(of(0), services, "password"), 3 * time.Hour, "bound"},
		"ID token":             {registry.Lifetimes{}.IDToken(of(0), customers), 10 * time.Minute, "default"},
		"ID token below":       {set.IDToken(of(0), customers), time.Minute, "bound"},
		"ID token of client":   {set.IDToken(registry.Metadata{IDTokenLife: 5 * time.Minute}, customers), 5 * time.Minute, "client"},
		"idle":                 {set.RefreshIdle(of(0), customers), 50 * day, "realm"},
		"idle of client":       {set.RefreshIdle(registry.Metadata{RefreshIdleLife: time.Hour}, customers), time.Hour, "client"},
		"idle beyond all":      {set.RefreshIdle(registry.Metadata{RefreshAbsoluteLife: time.Hour}, customers), time.Hour, "client"},
		"absolute":             {set.RefreshAbsolute(of(0), customers), 60 * day, "realm"},
		"absolute default":     {registry.Lifetimes{}.RefreshAbsolute(of(0), customers), 180 * day, "default"},
		"absolute beyond":      {set.RefreshAbsolute(registry.Metadata{RefreshAbsoluteLife: 100 * day}, customers), 90 * day, "bound"},
		"whole seconds":        {set.Access(of(90*time.Second+time.Millisecond), customers, "x"), 90 * time.Second, "client"},
	} {
		if c.got.For != c.life || c.got.From != c.from {
			t.Errorf("%s: %v by %s, want %v by %s", name, c.got.For, c.got.From, c.life, c.from)
		}
	}
}

// What counts for a client is told with its settings, and who said so.
func TestEffectiveLifetimes(t *testing.T) {
	l := registry.Lifetimes{Realms: map[string]registry.RealmLifetimes{"customers": {IDToken: time.Minute}, "services": {Access: time.Hour}}}
	got := l.Effective(registry.Metadata{RefreshIdleLife: time.Hour}, []string{"authorization_code", "client_credentials", "password", "refresh_token"})
	want := []api.ClientLifetime{
		{Token: "access_token", Realm: "services", GrantType: "client_credentials", Seconds: 3600, From: "realm"},
		{Token: "access_token", Realm: "services", GrantType: "password", Seconds: 3600, From: "realm"},
		{Token: "access_token", Realm: "customers", GrantType: "authorization_code", Seconds: 600, From: "default"},
		{Token: "id_token", Realm: "customers", Seconds: 60, From: "realm"},
		{Token: "refresh_token_idle", Realm: "customers", Seconds: 3600, From: "client"},
		{Token: "refresh_token_absolute", Realm: "customers", Seconds: 180 * 86400, From: "default"},
		{Token: "access_token", GrantType: "authorization_code", Seconds: 600, From: "default"},
		{Token: "id_token", Seconds: 600, From: "default"},
		{Token: "refresh_token_idle", Seconds: 3600, From: "client"},
		{Token: "refresh_token_absolute", Seconds: 180 * 86400, From: "default"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
