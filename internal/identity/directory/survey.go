package directory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/sourced"
)

const (
	// lag is how long somebody is left alone whom a login has just seen: the server that is asked now may be behind.
	lag = 15 * time.Minute
	// few people may always be disabled, however large a part of all they are.
	few = 5
	// pageTime is how long a server may take for one page.
	pageTime = time.Minute

	readAtOnce = 1000
)

// survey is what a comparison of all found. It changes nothing.
type survey struct {
	entries int // of the directory
	people  int // who have an entry, and are enabled
	present int // of these, whom the directory shows
	changed []change
	back    []identity.EntryState // who are to be enabled again
	gone    []identity.EntryState // who are to be disabled, confirmed one by one
}

type change struct {
	person identity.EntryState
	entry  identity.Entry
	said   sourced.Said
	groups []string // ids
}

// held is why a comparison disables nobody, or "".
type held string

// survey compares who is known here with who is in the directory. Any doubt is an error: a directory that answers half
// is not one whose people have gone.
func (src *source) survey(ctx context.Context, now time.Time, allow int) (s survey, why held, err error) {
	known, err := src.known(ctx)
	if err != nil {
		return s, "", err
	}
	var k kept
	if err := src.s.d.Read(ctx, func(tx db.ReadTx) (err error) {
		k, err = src.kept(ctx, tx)
		return err
	}); err != nil {
		return s, "", err
	}
	err = src.pool.with(ctx, func(ctx context.Context, c *conn) error {
		shown, err := src.shown(ctx, c, known, k, &s)
		if err != nil {
			return err
		}
		s.compare(known, shown, now)
		if why = src.restrain(s, len(known), allow); why != "" {
			return nil
		}
		return src.confirm(ctx, c, &s)
	})
	return s, why, err
}

// known reads who of the realm has an entry.
func (src *source) known(ctx context.Context) (map[string]identity.EntryState, error) {
	known := map[string]identity.EntryState{}
	for after := ""; ; {
		var list []identity.EntryState
		if err := src.s.d.Read(ctx, func(tx db.ReadTx) (err error) {
			list, err = identity.ListEntries(ctx, tx, src.c.Realm, after, readAtOnce)
			return err
		}); err != nil {
			return nil, err
		}
		for _, e := range list {
			known[e.Entry] = e
		}
		if len(list) < readAtOnce {
			return known, nil
		}
		after = list[len(list)-1].Entry
		if len(known) > src.c.Sync.Entries {
			return nil, fmt.Errorf("more than %d people have an entry: raise sync.entries", src.c.Sync.Entries)
		}
	}
}

// shown reads all entries, and answers which of those known may sign in. It notes what has changed of them.
func (src *source) shown(ctx context.Context, c *conn, known map[string]identity.EntryState, k kept, s *survey) (map[string]bool, error) {
	shown := map[string]bool{}
	err := src.each(ctx, c, src.c.allFilter(), src.c.attributeNames(), func(e *ldap.Entry) {
		s.entries++
		key, err := src.c.key(e)
		if err != nil {
			return // nobody signs in as it
		}
		person, ok := known[key]
		if !ok {
			return
		}
		shown[key] = true
		f, err := src.c.read(e)
		if err != nil {
			return
		}
		if entry, ids, err := k.complete(f); err == nil && !person.Same(entry) {
			s.changed = append(s.changed, change{person, entry, f.said, ids})
		}
	})
	if err != nil || src.c.Disabled == "" {
		return shown, err
	}
	err = src.each(ctx, c, src.c.disabledFilter(), []string{src.c.Key}, func(e *ldap.Entry) {
		if key, err := src.c.key(e); err == nil {
			delete(shown, key)
		}
	})
	return shown, err
}

// each reads the entries of a filter page by page (RFC 2696). An answer that is cut off is an error.
func (src *source) each(ctx context.Context, c *conn, filter string, attributes []string, f func(*ldap.Entry)) error {
	paging := ldap.NewControlPaging(uint32(src.c.Sync.Page))
	for n := 0; ; {
		r, err := src.pool.search(ctx, c, src.c.Base, filter, attributes, 0, mostOfPage, pageTime, paging)
		if err != nil {
			return unavailable(fmt.Errorf("read all entries: %w", err))
		}
		for _, e := range r.Entries {
			f(e)
		}
		if n += len(r.Entries); n > src.c.Sync.Entries {
			return fmt.Errorf("the directory has more than %d entries of people: narrow base or filter, or raise sync.entries", src.c.Sync.Entries)
		}
		next, ok := ldap.FindControl(r.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		if !ok || len(next.Cookie) == 0 {
			return nil
		}
		paging.SetCookie(next.Cookie)
	}
}

// compare finds who is gone and who is back.
func (s *survey) compare(known map[string]identity.EntryState, shown map[string]bool, now time.Time) {
	for key, e := range known {
		if e.Disabled.IsZero() {
			s.people++
		}
		switch {
		case shown[key] && e.Gone:
			s.back = append(s.back, e)
		case shown[key]:
			s.present++
		case e.Disabled.IsZero() && now.Sub(e.Seen) >= lag:
			s.gone = append(s.gone, e)
		}
	}
	slices.SortFunc(s.gone, func(a, b identity.EntryState) int { return strings.Compare(a.Username, b.Username) })
	s.changed = slices.DeleteFunc(s.changed, func(c change) bool { return !shown[c.person.Entry] })
}

// restrain says why nobody is to be disabled: what fails, or was set wrongly, must not look like everybody's leaving.
// allow is how many an administrator said that may be.
func (src *source) restrain(s survey, known, allow int) held {
	n, c := len(s.gone), src.c.Sync
	switch {
	case known > 0 && s.entries == 0:
		return "the directory shows no entry at all"
	case n == 0 || n <= allow:
		return ""
	case n > 1 && s.present+len(s.back) == 0:
		return "the directory shows none of those whom it showed before"
	case n > c.AtMost:
		return held(fmt.Sprintf("%d people would be disabled, and sync.at_most is %d", n, c.AtMost))
	case n > few && n*100 > c.AtMostOf*s.people:
		return held(fmt.Sprintf("%d of %d people would be disabled, and sync.percent is %d", n, s.people, c.AtMostOf))
	}
	return ""
}

// confirm asks once more for each who seems to be gone: an entry that was moved while it was read may be missed.
func (src *source) confirm(ctx context.Context, c *conn, s *survey) error {
	var gone []identity.EntryState
	for _, e := range s.gone {
		_, err := src.pool.find(ctx, c, src.c.keyFilter(e.Entry))
		switch {
		case fault.Code(err) == "directory_unknown":
			gone = append(gone, e)
		case err != nil && !fault.Is(err, fault.Unauthenticated):
			return err
		}
	}
	s.gone = gone
	return nil
}
