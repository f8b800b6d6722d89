package directory

import (
	"context"
	"net/http"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/route"
)

// What the endpoints take and give.
type (
	// RealmPath names the realm whose directory it is.
	RealmPath struct {
		Realm string `path:"realm" maxLength:"41" example:"employees"`
	}
	testInput struct {
		RealmPath
		Body *api.TestDirectory
	}
	syncInput struct {
		RealmPath
		Body *api.SyncDirectory
	}
	directoriesOutput struct{ Body api.Directories }
	testOutput        struct{ Body api.DirectoryTest }
	syncOutput        struct{ Body api.DirectorySync }
)

// Routes registers the endpoints for administrators.
func (s *Service) Routes(m *route.Mux) {
	op := func(method, path, id, summary string) route.Op {
		return route.Op{Method: method, Path: "/api/directories" + path, ID: id, Summary: summary, Action: access.ManageUsers, Tags: []string{"People"}}
	}
	route.Do(m, op(http.MethodGet, "", "directory.list", "List the directories that realms take their people from"), s.getDirectories)
	route.Do(m, op(http.MethodPost, "/{realm}/test", "directory.test", "Ask a directory whether it answers, and what it says of a name"), s.postTest)
	route.Do(m, op(http.MethodPost, "/{realm}/sync", "directory.sync", "Compare the people of a realm with their directory"), s.postSync)
}

func (s *Service) getDirectories(ctx context.Context, c access.Caller, _ *struct{}) (*directoriesOutput, error) {
	list, err := s.List(ctx, c)
	if err != nil {
		return nil, err
	}
	out := &directoriesOutput{api.Directories{Items: []api.Directory{}}}
	for _, st := range list {
		d := api.Directory{Realm: st.Realm, Servers: st.Servers, ServersDown: st.Down, Only: st.Only, EverySeconds: int64(st.Every.Seconds())}
		if st.Last != nil {
			r := wireReport(*st.Last)
			d.LastSync = &r
		}
		out.Body.Items = append(out.Body.Items, d)
	}
	return out, nil
}

func (s *Service) realm(text string) (string, error) {
	r, err := s.dir.Realms().Lookup(text)
	if err != nil || s.realms[r.Name] == nil {
		return "", noDirectory(text)
	}
	return r.Name, nil
}

func (s *Service) postTest(ctx context.Context, c access.Caller, in *testInput) (*testOutput, error) {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "realm", ID: in.Realm}); err != nil {
		return nil, err
	}
	realm, err := s.realm(in.Realm)
	if err != nil {
		return nil, err
	}
	out := &testOutput{api.DirectoryTest{OK: true, Text: "The directory answers, and the searcher may search."}}
	if err := s.Test(ctx, realm); err != nil {
		out.Body = api.DirectoryTest{Text: causeOf(err)}
		return out, nil
	}
	if in.Body == nil || in.Body.Username == "" {
		return out, nil
	}
	f, err := s.Look(ctx, realm, in.Body.Username)
	switch {
	case fault.Is(err, fault.Unauthenticated):
		out.Body = api.DirectoryTest{Text: fault.Of(err).Detail}
	case err != nil:
		out.Body = api.DirectoryTest{Text: causeOf(err)}
	default:
		out.Body.Entry = &api.DirectoryEntry{DN: f.DN, Key: f.Key, Username: f.Username, DisplayName: f.DisplayName, Email: f.Email, Phone: f.Phone}
	}
	return out, nil
}

func (s *Service) postSync(ctx context.Context, c access.Caller, in *syncInput) (*syncOutput, error) {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "realm", ID: in.Realm}); err != nil {
		return nil, err
	}
	realm, err := s.realm(in.Realm)
	if err != nil {
		return nil, err
	}
	var want api.SyncDirectory
	if in.Body != nil {
		want = *in.Body
	}
	if want.DryRun {
		r, err := s.Try(ctx, realm)
		if err != nil {
			return nil, err
		}
		report := wireReport(r)
		return &syncOutput{api.DirectorySync{Report: &report}}, nil
	}
	return &syncOutput{api.DirectorySync{Started: true}}, s.d.Write(ctx, func(tx db.WriteTx) error { return s.Ask(ctx, tx, c, realm, want.DisableAtMost) })
}

func wireReport(r Report) api.DirectoryReport {
	return api.DirectoryReport{
		Started: r.Started, Finished: r.Finished, Outcome: r.Outcome, Why: r.Why, Entries: r.Entries, People: r.People, Refreshed: r.Refreshed,
		Enabled: r.Enabled, Disabled: r.Disabled, Skipped: r.Skipped, Gone: r.Gone, Names: r.Names,
	}
}
