package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/route"
)

// Application is a program with credentials of its own.
type Application struct {
	ID                 string
	Team               string
	Active             bool
	Name               string
	Subtitle           string
	Description        string
	ServiceURL         string
	SCMURL             string
	DocumentationURL   string
	SpecificationURL   string
	SpecificationType  string
	SupportURL         string
	IncidentContact    string
	CriticalityLevel   int // 1..4; 0: not classified
	PubliclyAccessible bool
	Confidential       bool   // its client keeps a secret
	ClientID           string // never changes
	ServiceUserID      string // never changes
	ServiceUsername    string // never changes
	Revision           int64
	Created            time.Time
	CreatedBy          string
	Modified           time.Time
	ModifiedBy         string
}

// Change is what a caller wants of an application: nil keeps what is stored.
type Change struct {
	Team, Name, Subtitle, Description                                *string
	ServiceURL, SCMURL, DocumentationURL                             *string
	SpecificationURL, SpecificationType, SupportURL, IncidentContact *string
	CriticalityLevel                                                 *int
	Active, PubliclyAccessible, Confidential                         *bool
}

func errNoApplication() error {
	return fault.New(fault.NotFound, "application_not_found", "There is no such application.")
}

// LoadApplication reads an application without asking who wants to know: for packages that act within a transaction of
// their own.
func LoadApplication(ctx context.Context, tx db.ReadTx, application string) (Application, error) {
	return loadApplication(ctx, tx, application)
}

// GetApplication reads an application.
func (r *Registry) GetApplication(ctx context.Context, tx db.ReadTx, c access.Caller, application string) (Application, error) {
	if err := access.Allow(c, access.ReadRegistry, access.Target{Type: "application", ID: application}); err != nil {
		return Application{}, err
	}
	return loadApplication(ctx, tx, application)
}

// Filter selects applications. Zero fields select all; the others combine with AND.
type Filter struct {
	Team            string
	IncidentContact string
	Active          *bool
	ModifiedBefore  time.Time // inclusive
	ModifiedAfter   time.Time // inclusive
	Search          string    // words that all stand somewhere in id, name, subtitle or description, whatever their case
	After           string    // id of the last one on the page before
	Limit           int
}

// ListApplications lists applications by id.
func (r *Registry) ListApplications(ctx context.Context, tx db.ReadTx, c access.Caller, f Filter) ([]Application, error) {
	if err := access.Allow(c, access.ReadRegistry, access.Target{Type: "application"}); err != nil {
		return nil, err
	}
	if err := route.CheckLine("query.search", f.Search, 0, maxSearch); err != nil {
		return nil, err
	}
	if len(strings.Fields(f.Search)) > maxWords {
		return nil, fault.InvalidAt("query.search", "too_many_words", "Search for at most %d words.", maxWords)
	}
	return listApplications(ctx, tx, f)
}

const (
	maxSearch = 300
	maxWords  = 8
)

// PutApplication registers an application or changes it. check gets the stored revision (0: there is none) and may
// refuse. A change that changes nothing leaves everything as it is, also who modified it last.
func (r *Registry) PutApplication(ctx context.Context, tx db.WriteTx, c access.Caller, application string, change Change, check func(revision int64) error) (Application, error) {
	if err := access.Allow(c, access.ReadRegistry, access.Target{Type: "application", ID: application}); err != nil {
		return Application{}, err
	}
	if !ValidApplicationID(application) {
		return Application{}, fault.InvalidAt("path.id", "application_id", "An application's id is lower-case letters, digits and '-'; it begins with a letter and does not end with '-'.")
	}
	stored, err := loadApplication(ctx, tx, application)
	exists := err == nil
	if err != nil && !fault.Is(err, fault.NotFound) {
		return Application{}, err
	}
	if !exists {
		stored = Application{ID: application, Confidential: true}
		if err := r.checkNew(ctx, tx, change); err != nil {
			return Application{}, err
		}
	}
	team := stored.Team
	if !exists {
		team = *change.Team
	}
	if err := access.Allow(c, access.WriteApplication, access.Target{Type: "application", ID: application, Team: team}); err != nil {
		return Application{}, err
	}
	if err := check(stored.Revision); err != nil {
		return Application{}, err
	}
	next := change.apply(stored)
	if err := r.checkApplication(ctx, tx, next, stored); err != nil {
		return Application{}, err
	}
	if exists && next == stored {
		return stored, nil
	}
	next.Revision, next.Modified, next.ModifiedBy = stored.Revision+1, tx.Now(), c.String()
	if exists {
		err = r.change(ctx, tx, c, stored, next)
	} else {
		next.Created, next.CreatedBy = next.Modified, next.ModifiedBy
		next, err = r.create(ctx, tx, c, next)
	}
	if err != nil {
		return Application{}, err
	}
	if err := r.announce(ctx, tx, next); err != nil {
		return Application{}, err
	}
	for _, hook := range r.hooks {
		if err := hook(ctx, tx, next); err != nil {
			return Application{}, fmt.Errorf("act on the change of application %s: %w", application, err)
		}
	}
	return next, nil
}

// checkNew: what a new application cannot do without, and a team that exists.
func (r *Registry) checkNew(ctx context.Context, tx db.ReadTx, c Change) error {
	for _, required := range []struct {
		location string
		missing  bool
	}{
		{"body.team_id", c.Team == nil || *c.Team == ""},
		{"body.name", c.Name == nil},
		{"body.active", c.Active == nil},
	} {
		if required.missing {
			return fault.InvalidAt(required.location, "required", "A new application needs team_id, name and active.")
		}
	}
	return r.needTeam(ctx, tx, *c.Team)
}

func (r *Registry) needTeam(ctx context.Context, tx db.ReadTx, team string) error {
	if ValidTeamID(team) {
		if ok, err := r.TeamExists(ctx, tx, team); err != nil || ok {
			return err
		}
	}
	return fault.InvalidAt("body.team_id", "team_not_found", "There is no such team.")
}

func (r *Registry) checkApplication(ctx context.Context, tx db.ReadTx, a, stored Application) error {
	if err := cmp.Or(
		route.CheckLine("body.name", a.Name, 1, maxLine),
		route.CheckLine("body.subtitle", a.Subtitle, 0, 500),
		route.CheckText("body.description", a.Description, 0, maxDescription),
		route.CheckLine("body.service_url", a.ServiceURL, 0, maxURL),
		route.CheckLine("body.scm_url", a.SCMURL, 0, maxURL),
		route.CheckLine("body.documentation_url", a.DocumentationURL, 0, maxURL),
		route.CheckLine("body.specification_url", a.SpecificationURL, 0, maxURL),
		route.CheckLine("body.specification_type", a.SpecificationType, 0, 100),
		route.CheckLine("body.support_url", a.SupportURL, 0, maxURL),
		route.CheckLine("body.incident_contact", a.IncidentContact, 0, maxLine),
	); err != nil {
		return err
	}
	if a.CriticalityLevel != stored.CriticalityLevel && (a.CriticalityLevel < 1 || a.CriticalityLevel > 4) {
		return fault.InvalidAt("body.criticality_level", "criticality_level", "The criticality level is 1, 2, 3 or 4.")
	}
	if a.Team != stored.Team {
		return r.needTeam(ctx, tx, a.Team)
	}
	return nil
}

// apply lays what the change holds over what is stored.
func (c Change) apply(a Application) Application {
	text := func(to *string, from *string) {
		if from != nil {
			*to = *from
		}
	}
	flag := func(to *bool, from *bool) {
		if from != nil {
			*to = *from
		}
	}
	text(&a.Team, c.Team)
	text(&a.Name, c.Name)
	text(&a.Subtitle, c.Subtitle)
	text(&a.Description, c.Description)
	text(&a.ServiceURL, c.ServiceURL)
	text(&a.SCMURL, c.SCMURL)
	text(&a.DocumentationURL, c.DocumentationURL)
	text(&a.SpecificationURL, c.SpecificationURL)
	text(&a.SpecificationType, c.SpecificationType)
	text(&a.SupportURL, c.SupportURL)
	text(&a.IncidentContact, c.IncidentContact)
	flag(&a.Active, c.Active)
	flag(&a.PubliclyAccessible, c.PubliclyAccessible)
	flag(&a.Confidential, c.Confidential)
	if c.CriticalityLevel != nil {
		a.CriticalityLevel = *c.CriticalityLevel
	}
	return a
}

// create stores the application with its service user and its client.
func (r *Registry) create(ctx context.Context, tx db.WriteTx, c access.Caller, a Application) (Application, error) {
	if err := storeApplication(ctx, tx, a, false); err != nil {
		return Application{}, err
	}
	u, err := r.dir.CreateServiceUser(ctx, tx, c, a.ID)
	if err != nil {
		return Application{}, fmt.Errorf("make the service user: %w", err)
	}
	a.ServiceUserID, a.ServiceUsername, a.ClientID = u.ID, u.Username, id.New(id.Client, tx.Now())
	disabled := int64(0)
	if !a.Active {
		disabled = db.Micros(tx.Now())
		if err := r.dir.DisableServiceUser(ctx, tx, c, a.ID); err != nil {
			return Application{}, err
		}
	}
	if err := db.One(tx.Exec(ctx, `INSERT INTO clients (id, application, untrusted, confidential, created, created_by, expires, enabled_since, disabled)
		VALUES ($1, $2, $3, $4, $5, $6, 0, $5, $7)`, a.ClientID, a.ID, false, a.Confidential, db.Micros(tx.Now()), c.String(), disabled)); err != nil {
		return Application{}, fmt.Errorf("store client: %w", err)
	}
	return a, audit.Done(ctx, tx, c, "application.create", "application", a.ID, map[string]any{
		"team": a.Team, "name": a.Name, "active": a.Active, "confidential": a.Confidential, "client_id": a.ClientID, "service_user": a.ServiceUserID,
	})
}

// change stores the application, and takes or gives credentials their effect.
func (r *Registry) change(ctx context.Context, tx db.WriteTx, c access.Caller, before, after Application) error {
	if err := storeApplication(ctx, tx, after, true); err != nil {
		return err
	}
	var err error
	switch {
	case before.Active && !after.Active:
		err = errors.Join(
			r.dir.DisableServiceUser(ctx, tx, c, after.ID),
			r.secrets.RetireAll(ctx, tx, after.ClientID),
			dropProofs(ctx, tx, after.ClientID),
			r.setClient(ctx, tx, `disabled = $2`, after.ClientID, db.Micros(tx.Now())))
	case !before.Active && after.Active:
		err = errors.Join(
			r.dir.EnableServiceUser(ctx, tx, c, after.ID),
			r.setClient(ctx, tx, `disabled = 0, `+sinceNow, after.ClientID, db.Micros(tx.Now())))
	}
	if err != nil {
		return fmt.Errorf("follow the application with its credentials: %w", err)
	}
	if before.Confidential != after.Confidential {
		err := errors.Join(
			r.secrets.RetireAll(ctx, tx, after.ClientID), // a secret that was public, or is of no use any more
			dropProofs(ctx, tx, after.ClientID),
			r.setClient(ctx, tx, `confidential = $2`, after.ClientID, after.Confidential))
		if err != nil {
			return fmt.Errorf("change the kind of client: %w", err)
		}
	}
	return audit.Done(ctx, tx, c, "application.change", "application", after.ID, differences(before, after))
}

// sinceNow makes all tokens of the client invalid that it has by now ($2). They are dated by whole seconds, the first of
// which comes after the instant before: so when that is in this very second, the new one is in the next.
const sinceNow = `enabled_since = CASE WHEN enabled_since < CAST($2 AS BIGINT) - CAST($2 AS BIGINT) % 1000000 THEN CAST($2 AS BIGINT) ELSE enabled_since + 1000000 END`

func (r *Registry) setClient(ctx context.Context, tx db.WriteTx, set, clientID string, value any) error {
	return db.One(tx.Exec(ctx, `UPDATE clients SET `+set+` WHERE id = $1`, clientID, value))
}

// differences are what an auditor wants to know: who owns it, what counts; of the texts only that they changed.
func differences(before, after Application) map[string]any {
	d := map[string]any{}
	note := func(name string, from, to any) {
		if from != to {
			d[name] = map[string]any{"from": from, "to": to}
		}
	}
	note("team", before.Team, after.Team)
	note("name", before.Name, after.Name)
	note("active", before.Active, after.Active)
	note("confidential", before.Confidential, after.Confidential)
	note("criticality_level", before.CriticalityLevel, after.CriticalityLevel)
	note("publicly_accessible", before.PubliclyAccessible, after.PubliclyAccessible)
	if len(d) == 0 {
		d["texts"] = "changed"
	}
	return d
}

// announce tells every node's memory.
func (r *Registry) announce(ctx context.Context, tx db.WriteTx, a Application) error {
	return errors.Join(tx.Changed(ctx, topicApplication, a.ID), tx.Changed(ctx, topicClient, a.ClientID))
}
