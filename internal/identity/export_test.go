package identity

import (
	"context"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/redact"
)

// AccessKeyID reads the id out of a key.
var AccessKeyID = accessKeyID

// The texts of the searches, for the engines to explain.
const (
	SearchMatching  = searchMatching
	SearchListed    = searchListed
	SearchRefused   = searchRefused
	SearchMembers   = searchMembers
	SearchAmong     = searchMatchingMembers
	ListPeopleQuery = listPeople
)

// CountTry does in tx what counts a try to sign in as somebody of the employees before its password is looked at.
func (dir *Directory) CountTry(ctx context.Context, tx db.WriteTx, name string, device redact.Secret) error {
	a := &attempt{realm: "employees", device: device, network: dir.NetworkKey("password", "192.0.2.1")}
	a.username, a.email = loginNames(name)
	return dir.people.count(ctx, tx, []*attempt{a})
}
