package oauth

import (
	"context"
	"strings"
	"sync"

	"github.com/mintmark/mintmark/internal/db"
)

// told is whom a grant is of, and which claims its client asked for by name. It never changes while the grant lives, and
// when the grant ends its tokens are refused before anybody asks; so it may be remembered.
type told struct {
	userID string
	claims []string
}

// toldLimit bounds each of the two generations of toldMemory: some 4 MB in all when full.
const toldLimit = 10_000

// toldMemory remembers what grants are about, so that userinfo need not read it. It has two generations, as the memory of
// tokens has: what is in use stays, and nothing needs sweeping. The zero value is empty and ready.
type toldMemory struct {
	mu         sync.Mutex
	young, old map[string]told // by id of the grant; owned by mu
}

func (m *toldMemory) get(grantID string) (told, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t, known := m.young[grantID]; known {
		return t, true
	}
	t, known := m.old[grantID]
	if known {
		m.insert(grantID, t)
	}
	return t, known
}

func (m *toldMemory) put(grantID string, t told) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.insert(grantID, t)
}

func (m *toldMemory) insert(grantID string, t told) {
	if m.young == nil || len(m.young) >= toldLimit {
		m.old, m.young = m.young, map[string]told{}
	}
	m.young[grantID] = t
}

// told answers from memory what this node issued a token for, or was asked about before; else it reads.
func (p *people) told(ctx context.Context, grantID string) (told, error) {
	if t, known := p.remembered.get(grantID); known {
		return t, nil
	}
	var t told
	var text string
	err := p.s.db.Read(ctx, func(tx db.ReadTx) error {
		return tx.QueryRow(ctx, `SELECT user_id, claims FROM grants WHERE id = $1 AND ended = 0`, grantID).Scan(&t.userID, &text)
	})
	if err != nil {
		return told{}, err
	}
	t.claims = strings.Fields(text)
	p.remembered.put(grantID, t)
	return t, nil
}
