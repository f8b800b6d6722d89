package identity

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
)

// ErrCredentials is the one answer to every credential that does not prove who its bearer is, whatever is wrong with it.
// It is the same value each time, so that nothing about the case can leak through it.
var ErrCredentials error = fault.New(fault.Unauthenticated, "invalid_credentials", "The credentials are not valid.")

// topicServiceUser announces changed service users, by userKey.
const topicServiceUser = "service_user"

// userKey names a user in caches. A canonical realm holds no slash, so the first one splits it.
func userKey(realmName, username string) string { return realmName + "/" + username }

// Subject is who has proved to be it, and with which version of the password.
type Subject struct {
	UserID       string
	Username     string
	Realm        string
	Application  string
	Version      int64
	EnabledSince time.Time // a token made before is not valid
}

// known is what memory holds of a service user. The zero value is a name that nobody has.
type known struct {
	subject  Subject
	disabled bool
	accepted []Accepted
}

// Verifier checks service users' passwords in memory.
type Verifier struct {
	dir   *Directory
	users *db.Cache[known]
	uses  *Uses
}

func newVerifier(dir *Directory) *Verifier {
	v := &Verifier{dir: dir, uses: NewUses(dir.d, dir.passwords, dir.o.Clock, dir.o.Logger)}
	v.users = db.NewCache(dir.d, topicServiceUser, dir.o.Capacity, v.load)
	return v
}

// load answers the zero value for a name that nobody has: that is kept in memory as well, and a user who is made later
// is announced.
func (v *Verifier) load(ctx context.Context, tx db.ReadTx, key string) (known, error) {
	realmName, username, _ := strings.Cut(key, "/")
	u, err := FindUser(ctx, tx, realmName, username)
	nobody := fault.Is(err, fault.NotFound)
	if err != nil && !nobody {
		return known{}, err
	}
	// Also for nobody, or the time of one query would tell that the name exists.
	accepted, err := v.dir.passwords.Accepted(ctx, tx, u.ID)
	if err != nil || nobody {
		return known{}, err
	}
	return known{
		subject:  Subject{UserID: u.ID, Username: u.Username, Realm: u.Realm, Application: u.Application, EnabledSince: u.EnabledSince},
		disabled: !u.Disabled.IsZero(),
		accepted: accepted,
	}, nil
}

// The longest name and password that are looked at. Ours are far shorter, and a hostile one must not fill the cache.
const (
	maxUsername = 200
	maxPassword = 1000
)

// ServicePassword checks a service user's password. The realm may come in any spelling. The answer to anything that is
// not right is ErrCredentials; another error says that it could not be found out.
func (v *Verifier) ServicePassword(ctx context.Context, realmName, username string, password redact.Secret) (Subject, error) {
	r, err := v.dir.o.Realms.Lookup(realmName)
	if err != nil || r.Kind != realm.Services {
		return Subject{}, ErrCredentials
	}
	if strings.TrimSpace(username) == "" || len(username) > maxUsername || !plain(username) ||
		len(password.Bytes()) > maxPassword || strings.TrimSpace(password.Reveal()) == "" {
		return Subject{}, ErrCredentials
	}
	key := userKey(r.Name, username)
	k, err := v.users.Get(ctx, key)
	if err != nil {
		return Subject{}, unavailable(err)
	}
	if s, ok := v.match(k, password); ok {
		return s, nil
	}
	// It may be a version of which this node has not heard yet. Before a refusal the database is asked, whether the
	// name is known or not.
	if k, err = v.users.Fresh(ctx, key); err != nil {
		return Subject{}, unavailable(err)
	}
	if s, ok := v.match(k, password); ok {
		return s, nil
	}
	return Subject{}, ErrCredentials
}

// ServiceUser finds a service user for whom somebody else has vouched. One that nobody has and one that is disabled are
// both ErrCredentials; another error says that it could not be found out.
func (v *Verifier) ServiceUser(ctx context.Context, realmName, username string) (Subject, error) {
	r, err := v.dir.o.Realms.Lookup(realmName)
	if err != nil || r.Kind != realm.Services || len(username) > maxUsername || !plain(username) {
		return Subject{}, ErrCredentials
	}
	key := userKey(r.Name, username)
	k, err := v.users.Get(ctx, key)
	if err == nil && (k.disabled || k.subject.UserID == "") {
		k, err = v.users.Fresh(ctx, key)
	}
	if err != nil {
		return Subject{}, unavailable(err)
	}
	if k.disabled || k.subject.UserID == "" {
		return Subject{}, ErrCredentials
	}
	return k.subject, nil
}

// plain tells whether the text could be a name at all, so that the database can store and compare it.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

func (v *Verifier) match(k known, password redact.Secret) (Subject, bool) {
	version, ok := v.dir.passwords.Match(k.accepted, password)
	if !ok || k.disabled || k.subject.UserID == "" {
		return Subject{}, false
	}
	v.uses.Note(k.subject.UserID, version)
	k.subject.Version = version
	return k.subject, true
}

func unavailable(err error) error {
	return fault.Wrap(fmt.Errorf("look up credentials: %w", err), fault.Unavailable, "unavailable", "The credentials cannot be checked just now.").Retry(time.Second)
}
