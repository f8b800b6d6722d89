package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/sourced"
)

// said is what an entry says of groups and attributes, as far as the rules name it.
func (c *Config) said(e *ldap.Entry) sourced.Said {
	if c.Rules.Empty() {
		return sourced.Said{}
	}
	byKey := map[string]string{} // the words of the map, which may be written in other ways than the directory does
	for dn := range c.Rules.Map {
		if key, err := dnKey(dn); err == nil {
			byKey[key] = dn
		}
	}
	said := c.Rules.Read(func(name string) []byte {
		var list []string
		for _, v := range rawValues(e, name) {
			if len(v) > maxValue || !utf8.Valid(v) || strings.ContainsRune(string(v), 0) {
				continue
			}
			text := string(v)
			if strings.EqualFold(name, c.Rules.Groups) {
				key, err := dnKey(text)
				if err != nil || byKey[key] == "" {
					continue
				}
				text = byKey[key]
			}
			list = append(list, text)
		}
		if len(list) == 0 {
			return nil
		}
		b, err := json.Marshal(list)
		if err != nil {
			return nil
		}
		return b
	})
	if cutOff(e, c.Rules.Groups) || len(rawValues(e, c.Rules.Groups)) > sourced.MaxWords {
		said.NoWords, said.Words = true, nil
	}
	return said
}

// cutOff tells whether a server gave only some values of an attribute, as Active Directory does of many (memberOf;range=).
// The others are not gone.
func cutOff(e *ldap.Entry, name string) bool {
	for _, a := range e.Attributes {
		if base, option, _ := strings.Cut(a.Name, ";"); name != "" && strings.EqualFold(base, name) && strings.HasPrefix(strings.ToLower(option), "range=") {
			return true
		}
	}
	return false
}

// kept is where what a directory says of groups leads to just now.
type kept struct {
	src    *source
	groups sourced.Groups
}

func (src *source) kept(ctx context.Context, tx db.ReadTx) (k kept, err error) {
	k.src = src
	if !src.c.Rules.Empty() {
		if k.groups, err = src.s.o.Sourced.Groups(ctx, tx, src.c.Realm, src.c.Rules); err != nil {
			err = fmt.Errorf("find the groups of a directory: %w", err)
		}
	}
	return k, err
}

// complete answers the entry with what it says of groups and attributes, so that a change of that, of the rules, or of the
// groups that they lead to is a change of the entry; and the ids of those groups.
func (k kept) complete(f found) (identity.Entry, []string, error) {
	if k.src.c.Rules.Empty() {
		return f.Entry, nil, nil
	}
	ids := k.groups.IDs(f.said.Words)
	text, err := json.Marshal(struct {
		Said sourced.Said
		IDs  []string
	}{f.said, ids})
	if err != nil {
		return f.Entry, nil, errors.New("write what a directory says of a person")
	}
	f.Entry.Besides = string(text)
	return f.Entry, ids, nil
}

// follow gives the person what the directory says, in the transaction of the login or the comparison.
func (src *source) follow(ctx context.Context, tx db.WriteTx, c access.Caller, userID string, said sourced.Said, ids []string) error {
	if src.s.o.Sourced == nil {
		return nil
	}
	p, err := identity.LoadPerson(ctx, tx, userID)
	if err != nil {
		return err
	}
	return src.s.o.Sourced.Follow(ctx, tx, c, p, sourced.Directory, src.s.o.Sourced.Adapt(src.c.Realm, said), ids)
}
