package oauth

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A covering is a revocation of many tokens at once: of all that were issued before an instant and carry some claims with
// some values. Without names it is all tokens.
type covering struct {
	names  []string // sorted, each one of revocableClaims
	values []string // in the same order
	before int64    // Unix seconds: a token is revoked iff its iat is less
}

// revocableClaims are the claims that tokens of ours carry once and as text, under their names in the token, sorted.
// Whoever names another is told that no token has it, instead of being left in the belief that something was revoked.
var revocableClaims = []string{"azp", "client_id", "grant_id", "jti", "realm", "sub"}

// claimOf is the value of one of revocableClaims, "" if the token does not carry it.
func claimOf(c *Claims, name string) string {
	switch name {
	case "azp":
		return c.AuthorizedParty
	case "client_id":
		return c.ClientID
	case "grant_id":
		return c.GrantID
	case "jti":
		return c.ID
	case "realm":
		return c.Realm
	case "sub":
		return c.Subject
	}
	return ""
}

// coverings are all of them in memory. Readers take no lock: what they read is never changed, only replaced, and a check
// costs one look-up for each distinct set of names, however many revocations there are.
type coverings struct {
	index atomic.Pointer[coveringIndex]

	mu sync.Mutex // held by writers
}

type coveringIndex struct {
	all  int64 // of those without names; 0: none
	sets []coveringSet
	size int
}

type coveringSet struct {
	names  []string
	before map[string]int64 // by the values, as joined by key
}

// maxSets bounds the distinct sets of names, of which each costs every check of a token a look-up.
const maxSets = 32

const valueSeparator = '\x1f'

// key joins values. None of them holds the separator (see checkClaims), so no two lists share a key.
func (v covering) key() string { return strings.Join(v.values, string(valueSeparator)) }

func newCoverings() *coverings {
	v := new(coverings)
	v.index.Store(&coveringIndex{})
	return v
}

// before answers the latest instant, in Unix seconds, such that tokens with these claims which were issued before it are
// revoked; 0 if there is none.
func (v *coverings) before(c *Claims) int64 {
	index := v.index.Load()
	latest := index.all
	var room [256]byte
sets:
	for i := range index.sets {
		set := &index.sets[i]
		key := room[:0]
		for j, name := range set.names {
			value := claimOf(c, name)
			if value == "" {
				continue sets // a token that lacks one of the claims is not meant
			}
			if j > 0 {
				key = append(key, valueSeparator)
			}
			key = append(key, value...)
		}
		latest = max(latest, set.before[string(key)])
	}
	return latest
}

// add puts some in. They only ever cover more.
func (v *coverings) add(list ...covering) {
	if len(list) == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	next := *v.index.Load()
	next.sets = slices.Clone(next.sets)
	cloned := map[int]bool{}
	for _, c := range list {
		if len(c.names) == 0 {
			next.all = max(next.all, c.before)
			continue
		}
		i := slices.IndexFunc(next.sets, func(s coveringSet) bool { return slices.Equal(s.names, c.names) })
		if i < 0 {
			i = len(next.sets)
			next.sets = append(next.sets, coveringSet{names: c.names, before: map[string]int64{}})
			cloned[i] = true
		}
		if !cloned[i] {
			next.sets[i].before = maps.Clone(next.sets[i].before)
			cloned[i] = true
		}
		key := c.key()
		next.sets[i].before[key] = max(next.sets[i].before[key], c.before)
	}
	next.count()
	v.index.Store(&next)
}

// prune forgets what covers no token that could still be good.
func (v *coverings) prune(oldest time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	before, next := v.index.Load(), coveringIndex{}
	if before.all >= oldest.Unix() {
		next.all = before.all
	}
	for _, set := range before.sets {
		left := maps.Clone(set.before)
		maps.DeleteFunc(left, func(_ string, at int64) bool { return at < oldest.Unix() })
		if len(left) > 0 {
			next.sets = append(next.sets, coveringSet{names: set.names, before: left})
		}
	}
	next.count()
	v.index.Store(&next)
}

func (x *coveringIndex) count() {
	x.size = 0
	if x.all != 0 {
		x.size = 1
	}
	for _, set := range x.sets {
		x.size += len(set.before)
	}
}

func (v *coverings) size() int { return v.index.Load().size }

// tooMany tells whether one more set of names would be one too many.
func (v *coverings) tooMany(names []string) bool {
	sets := v.index.Load().sets
	return len(sets) >= maxSets && !slices.ContainsFunc(sets, func(s coveringSet) bool { return slices.Equal(s.names, names) })
}

// feedText is a covering as the change feed carries it, so that the other nodes need not ask the database.
func (v covering) feedText() string {
	return strconv.FormatInt(v.before, 10) + string(valueSeparator) + strings.Join(v.names, " ") + string(valueSeparator) + v.key()
}

func parseCovering(text string) (v covering, ok bool) {
	seconds, rest, ok := strings.Cut(text, string(valueSeparator))
	if !ok {
		return v, false
	}
	names, values, ok := strings.Cut(rest, string(valueSeparator))
	before, err := strconv.ParseInt(seconds, 10, 64)
	if !ok || err != nil {
		return v, false
	}
	return storedCovering(names, values, before)
}

// storedCovering is one as a row holds it.
func storedCovering(names, values string, before int64) (v covering, ok bool) {
	v = covering{names: strings.Fields(names), before: before}
	if len(v.names) > 0 {
		v.values = strings.Split(values, string(valueSeparator))
	}
	return v, len(v.names) == len(v.values)
}
