package identity

import (
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/realm"
)

// How people are found among very many: by the beginning of a name or address, in an index (table person_keys). However
// a search is narrowed, one page of it looks at maxLooked entries at most; a page may therefore be short, or empty, and
// yet not be the last.
const (
	maxKey    = 64 // bytes of a key; what is longer is found by its beginning
	maxWords  = 8  // of the name to show, from which on it is found
	maxLooked = 1000
	realmCost = 10 // what turning to another realm counts for
)

// folds are letters that have no decomposition, as people type them who do not have them on the keyboard.
var folds = strings.NewReplacer("ø", "o", "ł", "l", "đ", "d", "æ", "ae", "œ", "oe", "ı", "i", "þ", "th", "ð", "d")

// Fold is the form in which names are searched: without case, marks and doubled spaces.
func Fold(text string) string {
	for range 3 { // what one step makes may be something for another
		next := foldOnce(text)
		if next == text {
			break
		}
		text = next
	}
	return text
}

func foldOnce(text string) string {
	text = norm.NFKD.String(cases.Fold().String(norm.NFKD.String(text)))
	text = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) || r == utf8.RuneError || r == 0 {
			return -1
		}
		return r
	}, text)
	return norm.NFC.String(folds.Replace(strings.Join(strings.Fields(text), " ")))
}

// clipKey cuts a text to the length of keys, between two characters.
func clipKey(text string) string {
	if len(text) <= maxKey {
		return text
	}
	cut := maxKey
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}

// searchKeys are the texts by whose beginnings a person is found.
func searchKeys(username, email, displayName string) map[string]bool {
	keys := map[string]bool{}
	add := func(text string) {
		if text = clipKey(text); text != "" {
			keys[text] = true
		}
	}
	add(Fold(username))
	add(Fold(email))
	name := Fold(displayName)
	for range maxWords {
		add(name)
		_, rest, more := strings.Cut(name, " ")
		if !more {
			break
		}
		name = rest
	}
	return keys
}

// indexPerson brings person_keys up to what users and people hold of somebody. Whatever changes a name or an address
// calls it, in the same transaction.
func indexPerson(ctx context.Context, tx db.WriteTx, userID string) error {
	p, err := LoadPerson(ctx, tx, userID)
	if err != nil {
		return err
	}
	return putKeys(ctx, tx, p.User, p.Email)
}

// putKeys is indexPerson for a caller who knows the person.
func putKeys(ctx context.Context, tx db.WriteTx, u User, email string) error {
	there, err := db.Texts(ctx, tx, `SELECT key FROM person_keys WHERE user_id = $1`, u.ID)
	if err != nil {
		return fmt.Errorf("read the keys of a person: %w", err)
	}
	want := searchKeys(u.Username, email, u.DisplayName)
	for _, key := range there {
		if want[key] {
			delete(want, key)
			continue
		}
		if err := db.One(tx.Exec(ctx, `DELETE FROM person_keys WHERE user_id = $1 AND key = $2`, u.ID, key)); err != nil {
			return fmt.Errorf("remove a key of a person: %w", err)
		}
	}
	for key := range want {
		if err := db.One(tx.Exec(ctx, `INSERT INTO person_keys (user_id, key, realm) VALUES ($1, $2, $3)`, u.ID, key, u.Realm)); err != nil {
			return fmt.Errorf("store a key of a person: %w", err)
		}
	}
	return nil
}

// State is whether people can sign in.
type State string

// The states; the zero value is any.
const (
	Enabled  State = "enabled"
	Disabled State = "disabled"
)

// Search says whom to look for: people in whom something begins with Text, or all.
type Search struct {
	Realm string // canonical; "": all that are configured
	Text  string // as somebody typed it; "": whoever there is
	State State
	Limit int
	After Place // where the page before ended
}

// Place is where a page of a search ends.
type Place struct{ Realm, Key, User string }

// Found is a page of a search. There is more if Next is not the zero Place, even where People are few or none.
type Found struct {
	People []Person
	Next   Place
}

// FindPeople answers a page of people, in the order of realm and of what of them was found (with Text), or of username.
func (dir *Directory) FindPeople(ctx context.Context, tx db.ReadTx, c access.Caller, s Search) (Found, error) {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user"}); err != nil {
		return Found{}, err
	}
	prefix := clipKey(Fold(s.Text))
	if prefix == "" && s.Text != "" {
		return Found{}, fault.New(fault.Invalid, "search", "There is nothing in the text to search for.").At("query.search", "not valid")
	}
	p := &page{search: s, budget: maxLooked}
	read := p.listed
	if prefix != "" {
		read = p.matching
	}
	for _, name := range dir.peopleRealms(s.Realm, s.After.Realm) {
		place := s.After
		if place.Realm != name || place.Key < prefix { // nothing that is looked for lies before
			place = Place{Realm: name, Key: prefix}
		}
		if err := p.realm(ctx, tx, place, prefix, read); err != nil || p.full {
			return p.found, err
		}
		if p.budget -= realmCost; p.budget <= 0 && s.Realm == "" {
			p.found.Next = Place{Realm: name, Key: endOf(prefix), User: lastText}
			return p.found, nil
		}
	}
	return p.found, nil
}

// lastText is behind every text: no name holds the character.
const lastText = "\U0010FFFF"

// endOf is behind everything that begins so.
func endOf(prefix string) string { return prefix + lastText }

// peopleRealms are the realms to look through, from one on.
func (dir *Directory) peopleRealms(only, from string) []string {
	if only != "" {
		return []string{only}
	}
	var names []string
	for _, name := range dir.o.Realms.Names() {
		if r, err := dir.o.Realms.Lookup(name); err == nil && r.Kind == realm.People && name >= from {
			names = append(names, name)
		}
	}
	return names
}

// page is a page of a search while it is put together.
type page struct {
	search Search
	found  Found
	full   bool
	budget int // entries that may still be looked at
}

// entry is one row that a search looks at.
type entry struct {
	Person
	key   string
	again bool // the person was found by an earlier key
}

type reader func(ctx context.Context, tx db.ReadTx, from Place, prefix string, n int) ([]entry, error)

// realm adds what is found in the realm of a place, behind it.
func (p *page) realm(ctx context.Context, tx db.ReadTx, from Place, prefix string, read reader) error {
	for n := p.search.Limit + 1; ; n *= 2 {
		n = min(n, p.budget)
		entries, err := read(ctx, tx, from, prefix, n)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if p.wanted(e) {
				if len(p.found.People) == p.search.Limit {
					p.found.Next, p.full = from, true
					return nil
				}
				p.found.People = append(p.found.People, e.Person)
			}
			from = Place{e.Realm, e.key, e.ID}
		}
		p.budget -= len(entries)
		if len(entries) < n {
			return nil
		}
		if p.budget <= 0 {
			p.found.Next, p.full = from, true
			return nil
		}
	}
}

func (p *page) wanted(e entry) bool {
	return !e.again && (p.search.State == "" || (p.search.State == Enabled) == e.Disabled.IsZero())
}

// The searches. Each is a range of one index, cut off before anything else is looked up; person_search_test.go has both
// engines explain that.
const (
	searchMatching = `SELECT ` + personColumns + `, k.key, EXISTS (SELECT 1 FROM person_keys e WHERE e.user_id = k.user_id AND e.key >= $4 AND e.key < k.key)
		FROM (SELECT key, user_id FROM person_keys WHERE realm = $1 AND (key, user_id) > ($2, $3) AND key < $5 ORDER BY key, user_id LIMIT $6) k
		JOIN users u ON u.id = k.user_id LEFT JOIN people p ON p.user_id = u.id LEFT JOIN person_passwords w ON w.user_id = u.id
		ORDER BY k.key, k.user_id`
	searchListed = `SELECT ` + personColumns + `, u.username, FALSE
		FROM (SELECT id FROM users WHERE realm = $1 AND username > $2 AND application IS NULL ORDER BY username LIMIT $3) k
		JOIN users u ON u.id = k.id LEFT JOIN people p ON p.user_id = u.id LEFT JOIN person_passwords w ON w.user_id = u.id
		ORDER BY u.username`
	searchRefused = `SELECT ` + personColumns + `, u.username, FALSE
		FROM (SELECT id FROM users WHERE realm = $1 AND username > $2 AND application IS NULL AND disabled <> 0 ORDER BY username LIMIT $3) k
		JOIN users u ON u.id = k.id LEFT JOIN people p ON p.user_id = u.id LEFT JOIN person_passwords w ON w.user_id = u.id
		ORDER BY u.username`
)

// matching reads entries with a key that begins with the prefix.
func (p *page) matching(ctx context.Context, tx db.ReadTx, from Place, prefix string, n int) ([]entry, error) {
	return readEntries(ctx, tx, searchMatching, from.Realm, from.Key, from.User, prefix, endOf(prefix), n)
}

// listed reads entries by username.
func (p *page) listed(ctx context.Context, tx db.ReadTx, from Place, _ string, n int) ([]entry, error) {
	query := searchListed
	if p.search.State == Disabled {
		query = searchRefused
	}
	return readEntries(ctx, tx, query, from.Realm, from.Key, n)
}

func readEntries(ctx context.Context, tx db.ReadTx, query string, args ...any) ([]entry, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("search people: %w", err)
	}
	defer rows.Close()
	var list []entry
	for rows.Next() {
		var e entry
		if e.Person, err = scanPerson(rows, &e.key, &e.again); err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, rows.Err()
}
