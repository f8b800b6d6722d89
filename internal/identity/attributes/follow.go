package attributes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
)

// Declares tells whether people of the realm have an attribute of this name.
func (s *Service) Declares(realmName, name string) bool {
	_, ok := s.declared.find(realmName, name)
	return ok
}

// Adapt answers what a source said as the type wants it that is declared: sources write one value as a list of one, or a
// list of one as a value, and directories write everything as text. What has no form that fits is answered as it is.
func (s *Service) Adapt(realmName, name string, said json.RawMessage) json.RawMessage {
	a, ok := s.declared.find(realmName, name)
	var list []string
	var text string
	switch said = bytes.TrimSpace(said); {
	case !ok:
		return said
	case json.Unmarshal(said, &text) == nil && len(said) > 0 && said[0] == '"':
		list = []string{text}
	case json.Unmarshal(said, &list) != nil || len(list) == 0:
		if bytes.Equal(said, []byte("[]")) && a.Type != List {
			return nil
		}
		return said
	}
	switch a.Type {
	case List:
		if one, err := write(list); err == nil {
			return json.RawMessage(one)
		}
	case String:
		if one, err := write(list[0]); err == nil {
			return json.RawMessage(one)
		}
	default:
		return json.RawMessage(strings.ToLower(list[0])) // value looks whether it is one
	}
	return said
}

// Follow keeps of a person what a source says under these names, null or nothing for none. What an administrator or the
// person itself has set stays, and so does what does not fit. The caller is the system.
func (s *Service) Follow(ctx context.Context, tx db.WriteTx, c access.Caller, p identity.Person, source string, said Values) error {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: p.ID}); err != nil {
		return err
	}
	kept, err := load(ctx, tx, p.ID)
	if err != nil {
		return err
	}
	by, err := keepers(ctx, tx, p.ID)
	if err != nil {
		return err
	}
	size := 0
	for name, value := range kept {
		size += len(name) + len(value)
	}
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(said)) {
		a, known := s.declared.find(p.Realm, name)
		if before, is := kept[name]; !known || is && by[name] == "" || !is && len(said[name]) == 0 {
			continue
		} else if size -= len(before); !is {
			size += len(name)
		}
		value, err := a.value(said[name])
		if err != nil || size+len(value) > maxHeld {
			value = kept[name] // it does not fit: what was before stays
		}
		if size += len(value); value == kept[name] && (value == "" || by[name] == source) || value == "" && by[name] != source {
			continue
		}
		if err := follow(ctx, tx, p.ID, name, value, source); err != nil {
			return err
		}
		if value != kept[name] {
			changed = append(changed, name)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if err := audit.Done(ctx, tx, c, "user.update_attributes", "user", p.ID, map[string]any{"realm": p.Realm, "username": p.Username, "attributes": changed, "source": source}); err != nil {
		return err
	}
	return tx.Changed(ctx, identity.TopicUser, p.ID)
}

func follow(ctx context.Context, tx db.WriteTx, userID, name, value, source string) (err error) {
	if value == "" {
		err = db.One(tx.Exec(ctx, `DELETE FROM person_attributes WHERE user_id = $1 AND name = $2`, userID, name))
	} else {
		err = db.One(tx.Exec(ctx, `INSERT INTO person_attributes (user_id, name, value, source) VALUES ($1, $2, $3, $4)
			ON CONFLICT (user_id, name) DO UPDATE SET value = excluded.value, source = excluded.source`, userID, name, value, source))
	}
	if err != nil {
		return fmt.Errorf("store an attribute: %w", err)
	}
	return nil
}

// keepers reads which source keeps each attribute of a person; "" for none.
func keepers(ctx context.Context, tx db.ReadTx, userID string) (map[string]string, error) {
	rows, err := tx.Query(ctx, `SELECT name, source FROM person_attributes WHERE user_id = $1`, userID)
	if err != nil {
		return nil, fmt.Errorf("read who keeps the attributes of a person: %w", err)
	}
	defer rows.Close()
	by := map[string]string{}
	for rows.Next() {
		var name, source string
		if err := rows.Scan(&name, &source); err != nil {
			return nil, errors.Join(errors.New("read who keeps the attributes of a person"), err)
		}
		by[name] = source
	}
	return by, rows.Err()
}

// Of names the attributes of a person that a source keeps.
func Of(ctx context.Context, tx db.ReadTx, userID, source string) ([]string, error) {
	return db.Texts(ctx, tx, `SELECT name FROM person_attributes WHERE user_id = $1 AND source = $2 ORDER BY name`, userID, source)
}

// Followers lists some of those of whom a source keeps an attribute.
func Followers(ctx context.Context, tx db.ReadTx, source string, limit int) ([]string, error) {
	return db.Texts(ctx, tx, `SELECT DISTINCT user_id FROM person_attributes WHERE source = $1 AND source <> '' ORDER BY user_id LIMIT $2`, source, limit)
}
