package transfer

import (
	"context"
	"net/http"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
)

type (
	importInput  struct{ Body api.ImportUsers }
	importOutput struct{ Body api.ImportedUsers }
	eraseInput   struct {
		identity.UserPath
		Body api.EraseUser
	}
	exportOutput struct{ Body api.UserExport }
)

// Routes registers the endpoints.
func (s *Service) Routes(m *route.Mux) {
	op := func(method, path, id, summary string, status int) route.Op {
		return route.Op{Method: method, Path: path, ID: id, Summary: summary, Action: access.ManageUsers, Status: status, Tags: []string{"People"}}
	}
	route.Do(m, op(http.MethodPost, "/api/users/import", "user.import", "Bring people in from another system, many at once", http.StatusOK), s.postImport)
	route.Write(m, op(http.MethodPost, "/api/users/{id}/export", "user.export", "Give out all that is held of a person", http.StatusOK), s.postExport)
	route.Write(m, op(http.MethodPost, "/api/users/{id}/erase", "user.erase", "Erase a person and all that is held of it", http.StatusNoContent), s.postErase)
}

func (s *Service) postExport(ctx context.Context, tx db.WriteTx, c access.Caller, in *identity.UserPath) (*exportOutput, error) {
	held, err := s.Export(ctx, tx, c, in.ID)
	if err != nil {
		return nil, err
	}
	return &exportOutput{held.Wire()}, nil
}

// Wire is what is sent to whoever asked.
func (h Held) Wire() api.UserExport {
	out := api.UserExport{UserID: h.UserID, At: h.At, Sections: []api.ExportSection{}}
	for _, s := range h.Sections {
		section := api.ExportSection{Name: s.Name}
		for _, r := range s.Records {
			section.Records = append(section.Records, r)
		}
		out.Sections = append(out.Sections, section)
	}
	return out
}

func (s *Service) postErase(ctx context.Context, tx db.WriteTx, c access.Caller, in *eraseInput) (*struct{}, error) {
	return nil, s.Erase(ctx, tx, c, in.ID, in.Body.Confirm)
}

func (s *Service) postImport(ctx context.Context, c access.Caller, in *importInput) (*importOutput, error) {
	b := Batch{Realm: in.Body.Realm, Update: in.Body.Existing == "update", DryRun: in.Body.DryRun}
	for _, r := range in.Body.Rows {
		b.Rows = append(b.Rows, Row{
			ExternalID: r.ExternalID, Username: r.Username, DisplayName: r.DisplayName, Email: r.Email, EmailVerified: r.EmailVerified, Phone: r.Phone, Address: r.Address,
			PasswordHash: redact.New(r.PasswordHash), Groups: r.Groups, Attributes: r.Attributes,
		})
	}
	results, err := s.Import(ctx, c, b)
	if err != nil {
		return nil, err
	}
	out := &importOutput{api.ImportedUsers{Refused: []api.RefusedRow{}}}
	for i, r := range results {
		switch r.Outcome {
		case Created:
			out.Body.Created++
		case Updated:
			out.Body.Updated++
		case Skipped:
			out.Body.Skipped++
		case Refused:
			out.Body.Refused = append(out.Body.Refused, refusedRow(i, r.Err))
		}
	}
	return out, nil
}

// refusedRow says what is wrong with a row, in words and fields that hold nothing of it.
func refusedRow(i int, err error) api.RefusedRow {
	f := fault.Of(err)
	row := api.RefusedRow{Row: i, Code: f.Code, Reason: f.Detail}
	if len(f.Fields) > 0 {
		row.Field = f.Fields[0].Location
	}
	return row
}
