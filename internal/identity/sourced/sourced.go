// Package sourced keeps of people what a source outside says of them besides who they are: their groups and attributes, by
// a provider with which they sign in, or by the directory of their realm.
//
// What it guards:
//   - A source gives what an administrator's rules name, and nothing else: a value that no rule names is as good as none.
//     It makes no group. So whoever rules the source gets nobody into another group, however he calls his own.
//   - What a source does not say any more is taken away, if it came from that source: the origin is kept with each
//     membership and attribute. What an administrator has given stays, whatever sources say.
//   - An administrator follows no source.
//   - What cannot be read, or was left out because it is large, changes nothing.
//   - Changes and their audit records commit together, with the login or the comparison that they come by.
//
// Stored form: group_sources, and the column source of person_attributes; see their migration.
package sourced

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/identity/groups"
)

// The bounds of rules, and of what a source says.
const (
	MaxRules = 200

	// MaxWords is how many groups of one person a source may say; of more, none counts.
	MaxWords = 1000

	maxValue = 500 // bytes
	maxSaid  = 16 << 10
)

// Directory is the source that the directory of a person's realm is.
const Directory = "directory"

// Provider names a provider as source.
func Provider(id string) string { return "provider:" + id }

// Rules say what a source gives.
type Rules struct {
	Attributes map[string]string // from the source's name of it to the attribute's
	Groups     string            // what the source calls the list of somebody's groups; "": it gives none
	Map        map[string]string // from the source's word for a group to the group's name here
	// Prefix, unless empty, also has each word be the group whose name is the prefix and the word. It ends with a mark
	// (prefixForm), so that it cannot run into the name of another group.
	Prefix string
}

var prefixForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]{0,48}[._:/-]$`)

// Check refuses rules that are not clear. Each error is at a field below the given one.
func (s *Service) Check(at, realmName string, r Rules) error {
	if len(r.Attributes) > attributes.MaxDeclared || len(r.Map) > MaxRules {
		return fault.InvalidAt(at, "too_many", "There are %d rules for groups and %d for attributes at most.", MaxRules, attributes.MaxDeclared)
	}
	to := map[string]bool{}
	for from, name := range r.Attributes {
		if !word(from) || to[name] || !s.attributes.Declares(realmName, name) {
			return fault.InvalidAt(at+".attributes", "attribute", "Each rule names something that the source says, and an attribute that realm %s declares, once.", realmName)
		}
		to[name] = true
	}
	if r.Groups == "" && (len(r.Map) > 0 || r.Prefix != "") || r.Groups != "" && !word(r.Groups) {
		return fault.InvalidAt(at+".groups", "groups", "Name where the source lists somebody's groups, in one line.")
	}
	if r.Prefix != "" && !prefixForm.MatchString(r.Prefix) {
		return fault.InvalidAt(at+".groups.prefix", "prefix", "A prefix is letters and digits and ends with one of . _ : / -, so that it is clear where it ends.")
	}
	for from, name := range r.Map {
		if !word(from) || name == "" || len(name) > maxValue {
			return fault.InvalidAt(at+".groups.map", "group", "Each rule names a group of the source, and one here.")
		}
	}
	return nil
}

// word tells whether a text can be what a source calls something.
func word(text string) bool {
	return text != "" && len(text) <= maxValue && utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// Empty tells whether a source gives nothing.
func (r Rules) Empty() bool { return len(r.Attributes) == 0 && r.Groups == "" }

// Said is what a source says of somebody, as far as rules name it.
type Said struct {
	Attributes map[string]json.RawMessage `json:"attributes,omitempty"` // by the name here; absent: none
	Unread     []string                   `json:"unread,omitempty"`     // attributes that stay as they are
	Words      []string                   `json:"words,omitempty"`      // for groups
	NoWords    bool                       `json:"no_words,omitempty"`   // nothing is known of groups: they stay as they are
}

// Read takes what rules name out of what a source says: claim answers JSON, or nothing for what is not said.
func (r Rules) Read(claim func(name string) []byte) Said {
	said := Said{Attributes: map[string]json.RawMessage{}}
	elsewhere := distributed(claim("_claim_names"))
	for from, name := range r.Attributes {
		switch raw := bytes.TrimSpace(claim(from)); {
		case slices.Contains(elsewhere, from), len(raw) > maxSaid, len(raw) > 0 && !json.Valid(raw):
			said.Unread = append(said.Unread, name)
		case len(raw) > 0 && !bytes.Equal(raw, []byte("null")):
			said.Attributes[name] = json.RawMessage(raw)
		}
	}
	slices.Sort(said.Unread)
	if r.Groups == "" {
		return said // what came by a rule that is gone goes
	}
	said.Words, said.NoWords = r.words(claim(r.Groups), slices.Contains(elsewhere, r.Groups))
	return said
}

// distributed are the claims that a provider keeps elsewhere because they are large (OpenID Connect Core 1.0, section
// 5.6.2): they are not said, which does not mean that there are none.
func distributed(raw []byte) (names []string) {
	var list map[string]json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	for name := range list {
		names = append(names, name)
	}
	return names
}

// words reads a list of groups, or one. unknown is true if it cannot be said which they are.
func (r Rules) words(raw []byte, elsewhere bool) (words []string, unknown bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return nil, elsewhere
	}
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		var one string
		if json.Unmarshal(raw, &one) != nil {
			return nil, true
		}
		list = []string{one}
	}
	if len(list) > MaxWords {
		return nil, true
	}
	return r.Named(list), elsewhere
}

// Named are those of a source's words for groups that the rules name, sorted, each once.
func (r Rules) Named(list []string) (words []string) {
	for _, w := range list {
		if _, is := r.Map[w]; word(w) && (is || r.Prefix != "") {
			words = append(words, w)
		}
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// Service keeps what sources say.
type Service struct {
	groups     *groups.Service
	attributes *attributes.Service
}

// New makes a Service.
func New(g *groups.Service, a *attributes.Service) *Service { return &Service{g, a} }

// Groups are those that rules can lead to, as they are in the database now.
type Groups struct {
	rules  Rules
	byName map[string]string // ids, by the compared form of the name
}

// Groups reads them.
func (s *Service) Groups(ctx context.Context, tx db.ReadTx, realmName string, r Rules) (Groups, error) {
	var names []string
	for _, name := range r.Map {
		names = append(names, name)
	}
	found, err := groups.Named(ctx, tx, realmName, names, r.Prefix)
	return Groups{r, found}, err
}

// IDs are the groups that words lead to, sorted.
func (g Groups) IDs(words []string) (ids []string) {
	for _, w := range words {
		for _, name := range []string{g.rules.Map[w], g.prefixed(w)} {
			if id := g.byName[identity.Fold(name)]; name != "" && id != "" {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (g Groups) prefixed(w string) string {
	if g.rules.Prefix == "" {
		return ""
	}
	return g.rules.Prefix + w
}

// Adapt brings what a source says of attributes into the types that the realm declares.
func (s *Service) Adapt(realmName string, said Said) Said {
	for name, raw := range said.Attributes {
		if said.Attributes[name] = s.attributes.Adapt(realmName, name, raw); said.Attributes[name] == nil {
			delete(said.Attributes, name)
		}
	}
	return said
}

// Follow gives a person what the source says of her, and takes away what it said before and says no more. ids are the
// groups that its words lead to. The caller is the system.
func (s *Service) Follow(ctx context.Context, tx db.WriteTx, c access.Caller, p identity.Person, source string, said Said, ids []string) error {
	if c.Kind != access.System {
		return fault.New(fault.Forbidden, "forbidden", "Only a source may say what it keeps of people.")
	}
	if p.Admin {
		return nil
	}
	if !said.NoWords {
		if err := s.groups.Follow(ctx, tx, c, p.User, source, ids); err != nil {
			return err
		}
	}
	values := attributes.Values{}
	had, err := attributes.Of(ctx, tx, p.ID, source)
	if err != nil {
		return err
	}
	for _, name := range had {
		values[name] = nil // unless it is said below
	}
	for name, raw := range said.Attributes {
		values[name] = raw
	}
	for _, name := range said.Unread {
		delete(values, name)
	}
	if len(values) == 0 {
		return nil
	}
	return s.attributes.Follow(ctx, tx, c, p, source, values)
}

// Leave takes away what a person has of a source that is none for her any more.
func (s *Service) Leave(ctx context.Context, tx db.WriteTx, userID, source string) error {
	p, err := identity.LoadPerson(ctx, tx, userID)
	if err != nil {
		return err
	}
	p.Admin = false // what an administrator got before he was one goes as well
	return s.Follow(ctx, tx, access.SystemCaller("sourced"), p, source, Said{}, nil)
}

// End takes away what people have of a source that is no more: of some people, and more tells that there are others. One
// transaction is cut off after ten seconds, and a source may have given something to everybody.
func (s *Service) End(ctx context.Context, tx db.WriteTx, source string) (more bool, err error) {
	for _, list := range followers {
		people, err := list(ctx, tx, source, endsAtOnce)
		if err != nil {
			return false, err
		}
		for _, userID := range people {
			if err := s.Leave(ctx, tx, userID, source); err != nil {
				return false, err
			}
		}
		more = more || len(people) == endsAtOnce
	}
	return more, nil
}

// endsAtOnce is of how many people one transaction takes something away.
const endsAtOnce = 100

var followers = []func(ctx context.Context, tx db.ReadTx, source string, limit int) ([]string, error){groups.Followers, attributes.Followers}

// Followed tells whether anybody has something of a source still.
func Followed(ctx context.Context, tx db.ReadTx, source string) (bool, error) {
	for _, list := range followers {
		if people, err := list(ctx, tx, source, 1); err != nil || len(people) > 0 {
			return err == nil, err
		}
	}
	return false, nil
}

// Orphans are the providers, as sources, of whom people have something although they are no more. is tells of an id whether
// there is such a provider.
func Orphans(ctx context.Context, tx db.ReadTx, is func(providerID string) bool) (sources []string, err error) {
	for _, query := range []string{
		`SELECT coalesce(min(source), '') FROM group_sources WHERE source > $1`,
		`SELECT coalesce(min(source), '') FROM person_attributes WHERE source <> '' AND source > $1`,
	} {
		for source := ""; ; { // from one to the next by the index, not over all people
			if err := tx.QueryRow(ctx, query, source).Scan(&source); err != nil {
				return nil, fmt.Errorf("list the sources of people: %w", err)
			}
			if source == "" {
				break
			}
			if providerID, of := strings.CutPrefix(source, Provider("")); of && !is(providerID) {
				sources = append(sources, source)
			}
		}
	}
	slices.Sort(sources)
	return slices.Compact(sources), nil
}
