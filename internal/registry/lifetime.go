package registry

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/realm"
)

// Grants are the grant types by which access tokens are given, apart from refreshing, which keeps to the grant that the
// family began with.
var Grants = []string{GrantAuthorizationCode, GrantClientCredentials, GrantPassword, GrantDeviceCode, GrantJWTBearer, GrantImplicit}

// Lifetimes say how long tokens live. The zero value has the defaults.
type Lifetimes struct {
	// Realms by canonical name.
	Realms map[string]RealmLifetimes
	// Min and Max bound access and ID tokens, MaxRefresh both lifetimes of refresh tokens. 0: 10 seconds, 24 hours and
	// 400 days. What lies outside, of a realm or a client, counts as the bound.
	Min, Max, MaxRefresh time.Duration
}

// RealmLifetimes are those of one realm; 0: the default, which is 8 hours for an access token of a service, 10 minutes for
// one of a person and for an ID token, 30 days without use and 180 in all for a family of refresh tokens.
type RealmLifetimes struct {
	Access          time.Duration
	Grants          map[string]time.Duration // of access tokens, by grant type; what is not in it has Access
	IDToken         time.Duration
	RefreshIdle     time.Duration
	RefreshAbsolute time.Duration
}

const (
	defaultMin        = 10 * time.Second
	defaultMaxRefresh = 400 * 24 * time.Hour

	serviceAccess  = 8 * time.Hour
	personAccess   = 10 * time.Minute
	defaultIDToken = 10 * time.Minute
	defaultIdle    = 30 * 24 * time.Hour
	defaultTotal   = 180 * 24 * time.Hour
)

// Check tells what cannot be meant.
func (l Lifetimes) Check() error {
	least, most := cmp.Or(l.Min, defaultMin), min(cmp.Or(l.Max, LongestToken), LongestToken)
	if least < time.Second || least > most || cmp.Or(l.MaxRefresh, defaultMaxRefresh) < least {
		return fmt.Errorf("lifetimes of tokens are between %s and %s: the least must be a second or more, and not more than the most", least, most)
	}
	return nil
}

// Effective lists what counts for a client: for services, for each realm of people that the configuration says something
// of, and under the name "" for all others.
func (l Lifetimes) Effective(m Metadata, grants []string) []api.ClientLifetime {
	list := []api.ClientLifetime{}
	add := func(token string, r realm.Realm, grant string, life Life) {
		list = append(list, api.ClientLifetime{Token: token, Realm: r.Name, GrantType: grant, Seconds: int64(life.For.Seconds()), From: life.From})
	}
	services := realm.Realm{Name: realm.Robots, Kind: realm.Services}
	for _, g := range grants {
		if g == GrantClientCredentials || g == GrantPassword {
			add("access_token", services, g, l.Access(m, services, g))
		}
	}
	for _, name := range append(slices.Sorted(maps.Keys(l.Realms)), "") {
		r := realm.Realm{Name: name, Kind: realm.People}
		if name == realm.Robots {
			continue
		}
		signsIn := false
		for _, g := range grants {
			if g != GrantClientCredentials && g != GrantRefreshToken && (g != GrantPassword || m.PersonPassword) {
				add("access_token", r, g, l.Access(m, r, g))
				signsIn = true
			}
		}
		if signsIn {
			add("id_token", r, "", l.IDToken(m, r))
		}
		if slices.Contains(grants, GrantRefreshToken) {
			add("refresh_token_idle", r, "", l.RefreshIdle(m, r))
			add("refresh_token_absolute", r, "", l.RefreshAbsolute(m, r))
		}
	}
	return list
}

// Life is a lifetime and who said so: "client", "grant" or "realm" (the configuration), "default", or "bound" if what
// one of them said lies outside the bounds.
type Life struct {
	For  time.Duration
	From string
}

// Access is how long an access token of the realm lives that the client gets by the grant.
func (l Lifetimes) Access(m Metadata, r realm.Realm, grant string) Life {
	own, standard := l.Realms[r.Name], personAccess
	if r.Kind == realm.Services {
		standard = serviceAccess
	}
	return l.token(pick(m.AccessTokenLife, own.Grants[grant], own.Access, standard))
}

// IDToken is how long an ID token of the realm lives.
func (l Lifetimes) IDToken(m Metadata, r realm.Realm) Life {
	return l.token(pick(m.IDTokenLife, 0, l.Realms[r.Name].IDToken, defaultIDToken))
}

// RefreshAbsolute is how long a family of refresh tokens lives in all.
func (l Lifetimes) RefreshAbsolute(m Metadata, r realm.Realm) Life {
	return l.refresh(pick(m.RefreshAbsoluteLife, 0, l.Realms[r.Name].RefreshAbsolute, defaultTotal))
}

// RefreshIdle is how long a family of refresh tokens lives without use; never longer than in all.
func (l Lifetimes) RefreshIdle(m Metadata, r realm.Realm) Life {
	idle, total := l.refresh(pick(m.RefreshIdleLife, 0, l.Realms[r.Name].RefreshIdle, defaultIdle)), l.RefreshAbsolute(m, r)
	if idle.For > total.For {
		return total
	}
	return idle
}

func pick(client, grant, of, standard time.Duration) Life {
	switch {
	case client > 0:
		return Life{client, "client"}
	case grant > 0:
		return Life{grant, "grant"}
	case of > 0:
		return Life{of, "realm"}
	}
	return Life{standard, "default"}
}

func (l Lifetimes) token(life Life) Life {
	return life.within(cmp.Or(l.Min, defaultMin), min(cmp.Or(l.Max, LongestToken), LongestToken))
}

func (l Lifetimes) refresh(life Life) Life {
	return life.within(cmp.Or(l.Min, defaultMin), cmp.Or(l.MaxRefresh, defaultMaxRefresh))
}

func (l Life) within(least, most time.Duration) Life {
	if bound := max(least, min(l.For, most)); bound != l.For {
		return Life{bound, "bound"}
	}
	return Life{l.For.Truncate(time.Second), l.From} // tokens are dated by full seconds
}
