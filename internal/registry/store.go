package registry

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
)

type scanner interface{ Scan(dest ...any) error }

const teamColumns = `id, name, revision, created, created_by, modified, modified_by`

func scanTeam(row scanner) (t Team, err error) {
	var created, modified int64
	err = row.Scan(&t.ID, &t.Name, &t.Revision, &created, &t.CreatedBy, &modified, &t.ModifiedBy)
	t.Created, t.Modified = db.Time(created), db.Time(modified)
	return t, err
}

func loadTeam(ctx context.Context, tx db.ReadTx, teamID string) (Team, error) {
	t, err := scanTeam(tx.QueryRow(ctx, `SELECT `+teamColumns+` FROM teams WHERE id = $1`, teamID))
	if errors.Is(err, db.ErrNoRows) {
		return Team{}, fault.New(fault.NotFound, "team_not_found", "There is no such team.")
	}
	if err != nil {
		return Team{}, fmt.Errorf("read team: %w", err)
	}
	members, err := loadMembers(ctx, tx, teamID, teamID)
	t.Members = members[teamID]
	return t, err
}

// listTeams reads a page in two queries, whatever its size.
func listTeams(ctx context.Context, tx db.ReadTx, after string, limit int) ([]Team, error) {
	rows, err := tx.Query(ctx, `SELECT `+teamColumns+` FROM teams WHERE id > $1 ORDER BY id LIMIT $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list teams: %w", err)
	}
	defer rows.Close()
	var list []Team
	for rows.Next() {
		t, err := scanTeam(rows)
		if err != nil {
			return nil, fmt.Errorf("list teams: %w", err)
		}
		list = append(list, t)
	}
	if err := rows.Err(); err != nil || len(list) == 0 {
		return nil, err
	}
	members, err := loadMembers(ctx, tx, list[0].ID, list[len(list)-1].ID)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].Members = members[list[i].ID]
	}
	return list, nil
}

// loadMembers reads the members of the teams from first to last.
func loadMembers(ctx context.Context, tx db.ReadTx, first, last string) (map[string][]Member, error) {
	rows, err := tx.Query(ctx, `SELECT team, realm, username FROM team_members WHERE team >= $1 AND team <= $2 ORDER BY team, realm, username`, first, last)
	if err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	defer rows.Close()
	members := map[string][]Member{}
	for rows.Next() {
		var team string
		var m Member
		if err := rows.Scan(&team, &m.Realm, &m.Username); err != nil {
			return nil, fmt.Errorf("read members: %w", err)
		}
		members[team] = append(members[team], m)
	}
	return members, rows.Err()
}

func storeTeam(ctx context.Context, tx db.WriteTx, t Team, exists bool) error {
	query := `INSERT INTO teams (id, name, revision, modified, modified_by, created, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7)`
	args := []any{t.ID, t.Name, t.Revision, db.Micros(t.Modified), t.ModifiedBy, db.Micros(t.Created), t.CreatedBy}
	if exists {
		query = `UPDATE teams SET name = $2, revision = $3, modified = $4, modified_by = $5 WHERE id = $1 AND revision = $3 - 1`
		args = args[:5]
	}
	if err := db.One(tx.Exec(ctx, query, args...)); err != nil {
		return fmt.Errorf("store team: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM team_members WHERE team = $1`, t.ID); err != nil {
		return fmt.Errorf("replace members: %w", err)
	}
	for _, m := range t.Members {
		if err := db.One(tx.Exec(ctx, `INSERT INTO team_members (team, realm, username) VALUES ($1, $2, $3)`, t.ID, m.Realm, m.Username)); err != nil {
			return fmt.Errorf("store member: %w", err)
		}
	}
	return nil
}

const selectApplication = `SELECT a.id, a.team, a.active, a.name, a.subtitle, a.description, a.service_url, a.scm_url, a.documentation_url,
	a.specification_url, a.specification_type, a.support_url, a.incident_contact, a.criticality_level, a.publicly_accessible,
	a.revision, a.created, a.created_by, a.modified, a.modified_by, c.id, c.confidential, u.id, u.username
	FROM applications a JOIN clients c ON c.application = a.id JOIN users u ON u.application = a.id`

func scanApplication(row scanner) (a Application, err error) {
	var created, modified int64
	err = row.Scan(&a.ID, &a.Team, &a.Active, &a.Name, &a.Subtitle, &a.Description, &a.ServiceURL, &a.SCMURL, &a.DocumentationURL,
		&a.SpecificationURL, &a.SpecificationType, &a.SupportURL, &a.IncidentContact, &a.CriticalityLevel, &a.PubliclyAccessible,
		&a.Revision, &created, &a.CreatedBy, &modified, &a.ModifiedBy, &a.ClientID, &a.Confidential, &a.ServiceUserID, &a.ServiceUsername)
	a.Created, a.Modified = db.Time(created), db.Time(modified)
	return a, err
}

func loadApplication(ctx context.Context, tx db.ReadTx, application string) (Application, error) {
	a, err := scanApplication(tx.QueryRow(ctx, selectApplication+` WHERE a.id = $1`, application))
	if errors.Is(err, db.ErrNoRows) {
		return Application{}, errNoApplication()
	}
	if err != nil {
		return Application{}, fmt.Errorf("read application: %w", err)
	}
	return a, nil
}

// listApplications builds its query from constant pieces; every value is a parameter. A word is looked for with replace,
// which means the same on both engines and knows no wildcards.
func listApplications(ctx context.Context, tx db.ReadTx, f Filter) ([]Application, error) {
	query := selectApplication + ` WHERE a.id > $1`
	args := []any{f.After}
	where := func(condition string, value any) {
		args = append(args, value)
		query += " AND " + strings.ReplaceAll(condition, "?", "$"+strconv.Itoa(len(args)))
	}
	if f.Team != "" {
		where(`a.team = ?`, f.Team)
	}
	if f.IncidentContact != "" {
		where(`a.incident_contact = ?`, f.IncidentContact)
	}
	if f.Active != nil {
		where(`a.active = ?`, *f.Active)
	}
	if !f.ModifiedAfter.IsZero() {
		where(`a.modified >= ?`, db.Micros(f.ModifiedAfter))
	}
	if !f.ModifiedBefore.IsZero() {
		where(`a.modified <= ?`, db.Micros(f.ModifiedBefore))
	}
	for _, word := range strings.Fields(strings.ToLower(f.Search)) {
		where(`replace(a.search, ?, '') <> a.search`, word)
	}
	args = append(args, f.Limit)
	rows, err := tx.Query(ctx, query+` ORDER BY a.id LIMIT $`+strconv.Itoa(len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("list applications: %w", err)
	}
	defer rows.Close()
	var list []Application
	for rows.Next() {
		a, err := scanApplication(rows)
		if err != nil {
			return nil, fmt.Errorf("list applications: %w", err)
		}
		list = append(list, a)
	}
	return list, rows.Err()
}

// searched is the text in which words are looked for. Fields are on lines of their own, so that no word spans two.
func searched(a Application) string {
	return strings.ToLower(strings.Join([]string{a.ID, a.Name, a.Subtitle, a.Description}, "\n"))
}

func storeApplication(ctx context.Context, tx db.WriteTx, a Application, exists bool) error {
	args := []any{
		a.ID, a.Team, a.Active, a.Name, a.Subtitle, a.Description, a.ServiceURL, a.SCMURL, a.DocumentationURL, a.SpecificationURL,
		a.SpecificationType, a.SupportURL, a.IncidentContact, a.CriticalityLevel, a.PubliclyAccessible, searched(a), a.Revision, db.Micros(a.Modified), a.ModifiedBy,
	}
	query := `UPDATE applications SET team = $2, active = $3, name = $4, subtitle = $5, description = $6, service_url = $7, scm_url = $8,
		documentation_url = $9, specification_url = $10, specification_type = $11, support_url = $12, incident_contact = $13,
		criticality_level = $14, publicly_accessible = $15, search = $16, revision = $17, modified = $18, modified_by = $19
		WHERE id = $1 AND revision = $17 - 1`
	if !exists {
		query = `INSERT INTO applications (id, team, active, name, subtitle, description, service_url, scm_url, documentation_url, specification_url,
			specification_type, support_url, incident_contact, criticality_level, publicly_accessible, search, revision, modified, modified_by, created, created_by)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)`
		args = append(args, db.Micros(a.Created), a.CreatedBy)
	}
	if err := db.One(tx.Exec(ctx, query, args...)); err != nil {
		return fmt.Errorf("store application: %w", err)
	}
	return nil
}
