package attributes

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
)

// Service keeps the attributes of people.
type Service struct{ declared schemas }

// New makes a Service for what realms declare, by their canonical names, which Check has passed.
func New(declared map[string][]Attribute) *Service {
	s := &Service{schemas{}}
	for realmName, list := range declared {
		for _, a := range list {
			s.declared[realmName] = append(s.declared[realmName], a.complete())
		}
	}
	return s
}

// Value is an attribute of a person.
type Value struct {
	Attribute        // without a Type: declared no more
	JSON      string // "": none
}

// Values are what a person says or is said of, by name: JSON, and null for none.
type Values map[string]json.RawMessage

// Get reads the attributes of a person: those of its realm in the order of their declaration, with or without a value, and
// what else is kept.
func (s *Service) Get(ctx context.Context, tx db.ReadTx, c access.Caller, userID string) ([]Value, error) {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID}); err != nil {
		return nil, err
	}
	p, err := identity.LoadPerson(ctx, tx, userID)
	if err != nil {
		return nil, err
	}
	return s.of(ctx, tx, p)
}

func (s *Service) of(ctx context.Context, tx db.ReadTx, p identity.Person) (list []Value, err error) {
	kept, err := load(ctx, tx, p.ID)
	if err != nil {
		return nil, err
	}
	for _, a := range s.declared[p.Realm] {
		list = append(list, Value{a, kept[a.Name]})
		delete(kept, a.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(kept)) {
		list = append(list, Value{Attribute{Name: name}, kept[name]})
	}
	return list, nil
}

// load reads all that is kept of a person, by name.
func load(ctx context.Context, tx db.ReadTx, userID string) (map[string]string, error) {
	rows, err := tx.Query(ctx, `SELECT name, value FROM person_attributes WHERE user_id = $1`, userID)
	if err != nil {
		return nil, fmt.Errorf("read the attributes of a person: %w", err)
	}
	defer rows.Close()
	kept := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, fmt.Errorf("read the attributes of a person: %w", err)
		}
		kept[name] = value
	}
	return kept, rows.Err()
}

// Set changes the attributes that are named; null removes the value, also of what is declared no more. From then on they are
// the administrator's, also those that a source outside has said in the same words.
func (s *Service) Set(ctx context.Context, tx db.WriteTx, c access.Caller, userID string, said Values) error {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID}); err != nil {
		return err
	}
	p, err := identity.LoadPerson(ctx, tx, userID)
	if err != nil {
		return err
	}
	return s.set(ctx, tx, c, p, said, true)
}

// checked answers the stored form of values for people of a realm, "" for none.
func (s *Service) checked(realmName string, said Values, kept map[string]string) (map[string]string, error) {
	values := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(said)) {
		a, known := s.declared.find(realmName, name)
		if !known {
			if _, is := kept[name]; is && string(said[name]) == "null" {
				values[name] = ""
				continue
			}
			return nil, fault.InvalidAt("body.attributes", "unknown_attribute", "An attribute is named that realm %s does not have.", realmName)
		}
		value, err := a.value(said[name])
		if err != nil {
			return nil, err
		}
		values[name] = value
	}
	return values, nil
}

// CheckNew refuses what could not be stored of a person of the realm.
func (s *Service) CheckNew(realmName string, said Values) error {
	_, err := s.checked(realmName, said, nil)
	return err
}

// set stores values. With pin, one that is as it was is kept by no source any more; the form of a person sends all that
// there is, which confirms nothing.
func (s *Service) set(ctx context.Context, tx db.WriteTx, c access.Caller, p identity.Person, said Values, pin bool) error {
	kept, err := load(ctx, tx, p.ID)
	if err != nil {
		return err
	}
	values, err := s.checked(p.Realm, said, kept)
	if err != nil {
		return err
	}
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name]
		if kept[name] == value {
			pinned, err := unsource(ctx, tx, p.ID, name, pin && value != "")
			if err != nil {
				return err
			}
			if pinned {
				changed = append(changed, name)
			}
			continue
		}
		changed = append(changed, name)
		if value == "" {
			delete(kept, name)
			err = db.One(tx.Exec(ctx, `DELETE FROM person_attributes WHERE user_id = $1 AND name = $2`, p.ID, name))
		} else {
			kept[name] = value
			err = db.One(tx.Exec(ctx, `INSERT INTO person_attributes (user_id, name, value) VALUES ($1, $2, $3) ON CONFLICT (user_id, name) DO UPDATE SET value = excluded.value, source = ''`, p.ID, name, value))
		}
		if err != nil {
			return fmt.Errorf("store an attribute: %w", err)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	held := 0
	for name, value := range kept {
		held += len(name) + len(value)
	}
	if held > maxHeld {
		return fault.InvalidAt("body.attributes", "too_large", "All attributes of one person have %d bytes at most.", maxHeld)
	}
	if err := audit.Done(ctx, tx, c, "user.update_attributes", "user", p.ID, map[string]any{"realm": p.Realm, "username": p.Username, "attributes": changed}); err != nil {
		return err
	}
	return tx.Changed(ctx, identity.TopicUser, p.ID)
}

// unsource has no source keep an attribute any more, if it is to, and answers whether one did.
func unsource(ctx context.Context, tx db.WriteTx, userID, name string, do bool) (bool, error) {
	if !do {
		return false, nil
	}
	n, err := tx.Exec(ctx, `UPDATE person_attributes SET source = '' WHERE user_id = $1 AND name = $2 AND source <> ''`, userID, name)
	if err != nil {
		return false, fmt.Errorf("note who keeps an attribute: %w", err)
	}
	return n > 0, nil
}
