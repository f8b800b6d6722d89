package directory

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/password"
)

// questions is how many questions a login asks at most, each of which may take the whole time-out.
const questions = 4

// system is who changes people here. Where a login is behind it, the record says from where.
func system(o identity.Origin) access.Caller {
	c := access.SystemCaller("directory")
	c.IP, c.RequestID = o.IP, o.RequestID
	return c
}

// Verify signs somebody in: it looks for the one entry of the name, counts the try for whom that is, and shows the
// password. See identity.Source.
func (src *source) Verify(ctx context.Context, l identity.SourceLogin) (u identity.User, err error) {
	ctx, cancel := context.WithTimeout(ctx, questions*src.c.Timeout)
	defer cancel()
	f, err := src.prove(ctx, l)
	if err == nil {
		u, err = src.admit(ctx, f, l.Origin)
	}
	src.s.metrics.login(src.c.Realm, err)
	if fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Internal) {
		src.s.o.Logger.WarnContext(ctx, "the directory could not be asked for a login", "realm", src.c.Realm, "error", err)
	}
	return u, err
}

// Pretend does what Verify does for a name of no entry, and tells nothing.
func (src *source) Pretend(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, questions*src.c.Timeout)
	defer cancel()
	err := src.pool.with(ctx, func(ctx context.Context, c *conn) error {
		if _, err := src.pool.find(ctx, c, src.c.nameFilter(name)); err != nil && !fault.Is(err, fault.Unauthenticated) {
			return err
		}
		return src.bindNobody(ctx, c)
	})
	if err != nil && !fault.Is(err, fault.Unauthenticated) {
		src.s.o.Logger.DebugContext(ctx, "the directory could not be asked in vain", "realm", src.c.Realm, "error", err)
	}
}

// prove finds the one entry of the name and shows the password for it.
func (src *source) prove(ctx context.Context, l identity.SourceLogin) (f found, err error) {
	err = src.pool.with(ctx, func(ctx context.Context, c *conn) (err error) {
		if strings.TrimSpace(l.Name) != "" {
			f, err = src.pool.find(ctx, c, src.c.nameFilter(l.Name))
		} else {
			err = noEntry("directory_unknown", "There was no name.")
		}
		if err == nil {
			err = src.count(ctx, l, f.Key)
		}
		if err == nil && !usable(l.Secret.Bytes()) {
			err = noEntry("directory_no_password", "There was no password, or one that no directory has.")
		}
		if fault.Is(err, fault.Unauthenticated) {
			// A name of no entry takes as long as one of somebody.
			if silence := src.bindNobody(ctx, c); !fault.Is(silence, fault.Unauthenticated) {
				return silence
			}
		}
		if err != nil {
			return err
		}
		return src.pool.bind(ctx, c, f.dn, l.Secret.Reveal())
	})
	return f, err
}

// count counts the try for whom the entry is.
func (src *source) count(ctx context.Context, l identity.SourceLogin, entry string) error {
	var s identity.EntryState
	if err := src.s.d.Read(ctx, func(tx db.ReadTx) (err error) {
		s, _, err = identity.FindEntry(ctx, tx, src.c.Realm, entry)
		return err
	}); err != nil {
		return fmt.Errorf("look up whom an entry is: %w", err)
	}
	return l.Count(ctx, s.UserID, entry)
}

// usable tells whether a password may go to the directory. Some end it at the first NUL, and so could take it for empty.
func usable(secret []byte) bool {
	return len(secret) > 0 && len(secret) <= password.MaxBytes && utf8.Valid(secret) && !strings.Contains(string(secret), "\x00")
}

// bindNobody shows a password that nobody has for an entry that is not there: the answer is always a refusal, after the
// time that one takes.
func (src *source) bindNobody(ctx context.Context, c *conn) error {
	err := src.pool.bind(ctx, c, "cn=nobody-"+strings.ToLower(rand.Text())+","+src.c.Base, rand.Text())
	if err == nil {
		return unavailable(fmt.Errorf("the directory accepts any password for entries that are not there"))
	}
	return err
}

// admit makes the person known, or brings her up to date.
func (src *source) admit(ctx context.Context, f found, o identity.Origin) (u identity.User, err error) {
	store := func() error {
		return src.s.d.Write(ctx, func(tx db.WriteTx) (err error) {
			k, err := src.kept(ctx, tx)
			if err != nil {
				return err
			}
			entry, ids, err := k.complete(f)
			if err != nil {
				return err
			}
			if u, err = src.s.dir.EntryLogin(ctx, tx, system(o), src.c.Realm, entry); err != nil {
				return err
			}
			return src.follow(ctx, tx, system(o), u.ID, f.said, ids)
		})
	}
	if err = store(); fault.Is(err, fault.Conflict) || fault.Code(err) == "directory_name_taken" {
		err = store() // somebody else made the same person known in this moment
	}
	switch {
	case fault.Code(err) == "directory_name_taken":
		src.s.o.Logger.WarnContext(ctx, "somebody of the directory cannot sign in, because an account of the realm has the name or address", "realm", src.c.Realm, "username", f.Username)
	case err != nil && !fault.Is(err, fault.Unauthenticated):
		err = fmt.Errorf("store whom the directory let in: %w", err)
	}
	return u, err
}
