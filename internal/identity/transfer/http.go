package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/roster"
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

// read takes the people out of a request; lines are where they stand in its CSV.
func (b *Batch) read(in api.ImportUsers) (lines []int, err error) {
	for _, r := range in.Rows {
		b.Rows = append(b.Rows, rowOf(r))
	}
	if in.CSV == "" {
		return nil, nil
	}
	if len(in.Rows) > 0 {
		return nil, fault.InvalidAt("body.csv", "rows_twice", "People come as rows or as csv, and not as both.")
	}
	file, err := roster.CSV(strings.NewReader(in.CSV))
	if err != nil {
		return nil, fault.InvalidAt("body.csv", "csv_header", "The header of csv cannot be used: %s.", err)
	}
	for len(b.Rows) <= MaxRows { // one more is refused with all
		e, err := file.Next()
		var wrong *roster.Wrong
		row, line := rowOf(e.Person), e.Line
		switch {
		case errors.Is(err, io.EOF):
			return lines, nil
		case errors.As(err, &wrong):
			row, line = Row{Wrong: fault.InvalidAt(wrong.Field, wrong.Code, "%s", wrong.Reason)}, wrong.Line
		case err != nil:
			return nil, fmt.Errorf("read csv: %w", err)
		}
		b.Rows, lines = append(b.Rows, row), append(lines, line)
	}
	return lines, nil
}

func rowOf(r api.ImportUser) Row {
	return Row{
		ExternalID: r.ExternalID, Username: r.Username, DisplayName: r.DisplayName, Email: r.Email, EmailVerified: r.EmailVerified, Phone: r.Phone, Address: r.Address,
		PasswordHash: redact.New(r.PasswordHash), Groups: r.Groups, Attributes: r.Attributes, Texts: r.AttributeTexts,
	}
}

func (s *Service) postImport(ctx context.Context, c access.Caller, in *importInput) (*importOutput, error) {
	b := Batch{Realm: in.Body.Realm, Update: in.Body.Existing == "update", DryRun: in.Body.DryRun}
	lines, err := b.read(in.Body)
	if err != nil {
		return nil, err
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
			out.Body.Refused = append(out.Body.Refused, refusedRow(i, lines, r.Err))
		}
	}
	return out, nil
}

// refusedRow says what is wrong with a row, in words and fields that hold nothing of it.
func refusedRow(i int, lines []int, err error) api.RefusedRow {
	f := fault.Of(err)
	row := api.RefusedRow{Row: i, Code: f.Code, Reason: f.Detail}
	if i < len(lines) {
		row.Line = lines[i]
	}
	if len(f.Fields) > 0 {
		row.Field = f.Fields[0].Location
	}
	return row
}
