package identity

import (
	"context"
	"errors"
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
	Group string // id of a group: only who is in it, and of its realm; "": whoever
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

// FindPeople answers a page of people, in the order of realm and of what of them was found (with Text), or of username; those
// of a group, whose members are package groups', in the order of ids without Text.
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
	switch {
	case prefix != "":
		read = p.matching
	case s.Group != "":
		read = p.members
	}
	if s.Group != "" {
		of, err := realmOfGroup(ctx, tx, s.Group)
		if err != nil || s.Realm != "" && s.Realm != of {
			return Found{}, err
		}
		s.Realm = of
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

func realmOfGroup(ctx context.Context, tx db.ReadTx, groupID string) (name string, err error) {
	err = tx.QueryRow(ctx, `SELECT realm FROM groups WHERE id = $1`, groupID).Scan(&name)
	if errors.Is(err, db.ErrNoRows) {
		return "", fault.New(fault.NotFound, "group_not_found", "There is no such group.")
	}
	if err != nil {
		return "", fmt.Errorf("find the realm of a group: %w", err)
	}
	return name, nil
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
	group  int // how many are in the group, up to a bit more than maxLooked; 0: not counted yet
	budget int // entries that may still be looked at
}

// entry is one row that a search looks at.
type entry struct {
	Person
	key   string
	again bool // the person was found by an earlier key
	in    bool // the person is in the group, if that was asked
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
	return !e.again && e.in && (p.search.State == "" || (p.search.State == Enabled) == e.Disabled.IsZero())
}

// The searches. Each is a range of one index, cut off before anything else is looked up; person_search_test.go has both
// engines explain that.
const (
	searchMatching = `SELECT ` + personColumns + `, k.key, EXISTS (SELECT 1 FROM person_keys e WHERE e.user_id = k.user_id AND e.key >= $4 AND e.key < k.key),
		$7 = '' OR EXISTS (SELECT 1 FROM group_members m WHERE m.group_id = $7 AND m.user_id = k.user_id)
		FROM (SELECT key, user_id FROM person_keys WHERE realm = $1 AND (key, user_id) > ($2, $3) AND key < $5 ORDER BY key, user_id LIMIT $6) k
		JOIN users u ON u.id = k.user_id LEFT JOIN people p ON p.user_id = u.id LEFT JOIN person_passwords w ON w.user_id = u.id LEFT JOIN person_entries n ON n.user_id = u.id
		ORDER BY k.key, k.user_id`
	searchListed = `SELECT ` + personColumns + `, u.username, FALSE, TRUE
		FROM (SELECT id FROM users WHERE realm = $1 AND username > $2 AND application IS NULL ORDER BY username LIMIT $3) k
		JOIN users u ON u.id = k.id LEFT JOIN people p ON p.user_id = u.id LEFT JOIN person_passwords w ON w.user_id = u.id LEFT JOIN person_entries n ON n.user_id = u.id
		ORDER BY u.username`
	searchRefused = `SELECT ` + personColumns + `, u.username, FALSE, TRUE
		FROM (SELECT id FROM users WHERE realm = $1 AND username > $2 AND application IS NULL AND disabled <> 0 ORDER BY username LIMIT $3) k
		JOIN users u ON u.id = k.id LEFT JOIN people p ON p.user_id = u.id LEFT JOIN person_passwords w ON w.user_id = u.id LEFT JOIN person_entries n ON n.user_id = u.id
		ORDER BY u.username`
	searchMembers = `SELECT ` + personColumns + `, u.id, FALSE, TRUE
		FROM (SELECT user_id AS id FROM group_members WHERE group_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3) k
		JOIN users u ON u.id = k.id LEFT JOIN people p ON p.user_id = u.id LEFT JOIN person_passwords w ON w.user_id = u.id LEFT JOIN person_entries n ON n.user_id = u.id
		ORDER BY u.id`
	// Of a group that is not large, those who match are looked for among its members: there may be a million others.
	searchMatchingMembers = `SELECT ` + personColumns + `, k.key, EXISTS (SELECT 1 FROM person_keys e WHERE e.user_id = k.user_id AND e.key >= $4 AND e.key < k.key), TRUE
		FROM (SELECT user_id FROM group_members WHERE group_id = $7 ORDER BY user_id LIMIT $8) m
		JOIN person_keys k ON k.user_id = m.user_id AND k.realm = $1 AND (k.key, k.user_id) > ($2, $3) AND k.key < $5
		JOIN users u ON u.id = k.user_id LEFT JOIN people p ON p.user_id = u.id LEFT JOIN person_passwords w ON w.user_id = u.id LEFT JOIN person_entries n ON n.user_id = u.id
		ORDER BY k.key, k.user_id LIMIT $6`
)

// matching reads entries with a key that begins with the prefix.
func (p *page) matching(ctx context.Context, tx db.ReadTx, from Place, prefix string, n int) ([]entry, error) {
	args := []any{from.Realm, from.Key, from.User, prefix, endOf(prefix), n, p.search.Group}
	if p.search.Group == "" {
		return readEntries(ctx, tx, searchMatching, args...)
	}
	if p.group == 0 {
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM (SELECT user_id FROM group_members WHERE group_id = $1 LIMIT $2) m`, p.search.Group, maxLooked+1).Scan(&p.group); err != nil {
			return nil, fmt.Errorf("count the members of a group: %w", err)
		}
	}
	if p.group > maxLooked {
		return readEntries(ctx, tx, searchMatching, args...)
	}
	return readEntries(ctx, tx, searchMatchingMembers, append(args, maxLooked)...)
}

// members reads who is in the group, by id.
func (p *page) members(ctx context.Context, tx db.ReadTx, from Place, _ string, n int) ([]entry, error) {
	return readEntries(ctx, tx, searchMembers, p.search.Group, from.Key, n)
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
		if e.Person, err = scanPerson(rows, &e.key, &e.again, &e.in); err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, rows.Err()
}
