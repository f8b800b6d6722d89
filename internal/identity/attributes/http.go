package attributes

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/route"
)

type (
	putInput struct {
		identity.UserPath
		Body api.PutUserAttributes
	}
	output struct{ Body api.UserAttributes }
)

// Routes registers the endpoints.
func (s *Service) Routes(m *route.Mux) {
	op := func(method, id, summary string) route.Op {
		return route.Op{Method: method, Path: "/api/users/{id}/attributes", ID: id, Summary: summary, Action: access.ManageUsers, Tags: []string{"People"}}
	}
	route.Read(m, op(http.MethodGet, "user.get_attributes", "Read the attributes of a person"), s.get)
	route.Write(m, op(http.MethodPut, "user.update_attributes", "Change attributes of a person"), s.put)
}

func (s *Service) get(ctx context.Context, tx db.ReadTx, c access.Caller, in *identity.UserPath) (*output, error) {
	list, err := s.Get(ctx, tx, c, in.ID)
	if err != nil {
		return nil, err
	}
	out := &output{api.UserAttributes{Items: []api.UserAttribute{}}}
	for _, v := range list {
		out.Body.Items = append(out.Body.Items, api.UserAttribute{Name: v.Name, Type: v.Type, Claim: v.Claim, Scope: v.Scope, Editable: v.Editable, Value: json.RawMessage(v.JSON)})
	}
	return out, nil
}

func (s *Service) put(ctx context.Context, tx db.WriteTx, c access.Caller, in *putInput) (*output, error) {
	if err := s.Set(ctx, tx, c, in.ID, in.Body.Attributes); err != nil {
		return nil, err
	}
	return s.get(ctx, tx, c, &in.UserPath)
}
