package api

import "time"

// Team owns applications and resource types.
type Team struct {
	ID             string    `json:"id" example:"shop"`
	Name           string    `json:"name"`
	Members        []string  `json:"members" doc:"People, as realm/username, sorted." example:"[\"employees/jane\"]"`
	Created        time.Time `json:"created"`
	CreatedBy      string    `json:"created_by"`
	LastModified   time.Time `json:"last_modified"`
	LastModifiedBy string    `json:"last_modified_by"`
}

// PutTeam is the whole content of a team.
type PutTeam struct {
	Name    string   `json:"name" minLength:"1" maxLength:"200"`
	Members []string `json:"members,omitempty" maxItems:"1000" doc:"People, as realm/username, with or without a leading slash."`
}

// Teams is a page of teams, by id.
type Teams struct {
	Items      []Team `json:"items"`
	NextCursor string `json:"next_cursor,omitempty" doc:"Pass it as cursor to get the next page. Absent on the last one."`
}

// Application is a program with credentials of its own.
type Application struct {
	ID                   string    `json:"id" example:"sales-orders"`
	TeamID               string    `json:"team_id" doc:"The team that owns it."`
	Active               bool      `json:"active" doc:"An inactive application has no credentials."`
	Name                 string    `json:"name"`
	Subtitle             string    `json:"subtitle"`
	Description          string    `json:"description" doc:"Markdown."`
	ServiceURL           string    `json:"service_url"`
	SCMURL               string    `json:"scm_url"`
	DocumentationURL     string    `json:"documentation_url"`
	SpecificationURL     string    `json:"specification_url"`
	SpecificationType    string    `json:"specification_type"`
	SupportURL           string    `json:"support_url"`
	IncidentContact      string    `json:"incident_contact"`
	CriticalityLevel     *int      `json:"criticality_level" nullable:"true" doc:"1 (most critical) to 3; 4: not relevant; null: not classified."`
	PubliclyAccessible   bool      `json:"publicly_accessible"`
	IsClientConfidential bool      `json:"is_client_confidential" doc:"False for a program that cannot keep a secret, such as a browser or mobile one: its client has none."`
	ClientID             string    `json:"client_id" doc:"Its OAuth client. It stays the same when the secret rotates."`
	ServiceUsername      string    `json:"service_username" doc:"Its service user, in realm services."`
	Created              time.Time `json:"created"`
	CreatedBy            string    `json:"created_by"`
	LastModified         time.Time `json:"last_modified"`
	LastModifiedBy       string    `json:"last_modified_by"`
}

// PutApplication creates or changes an application. What is null or absent stays as it is; "" clears a text. To create
// one, team_id, active and name are needed.
type PutApplication struct {
	TeamID               *string `json:"team_id,omitempty" nullable:"true" maxLength:"100"`
	Active               *bool   `json:"active,omitempty" nullable:"true"`
	Name                 *string `json:"name,omitempty" nullable:"true" maxLength:"200"`
	Subtitle             *string `json:"subtitle,omitempty" nullable:"true" maxLength:"500"`
	Description          *string `json:"description,omitempty" nullable:"true" maxLength:"16384" doc:"Markdown."`
	ServiceURL           *string `json:"service_url,omitempty" nullable:"true" maxLength:"1000"`
	SCMURL               *string `json:"scm_url,omitempty" nullable:"true" maxLength:"1000"`
	DocumentationURL     *string `json:"documentation_url,omitempty" nullable:"true" maxLength:"1000"`
	SpecificationURL     *string `json:"specification_url,omitempty" nullable:"true" maxLength:"1000"`
	SpecificationType    *string `json:"specification_type,omitempty" nullable:"true" maxLength:"100"`
	SupportURL           *string `json:"support_url,omitempty" nullable:"true" maxLength:"1000"`
	IncidentContact      *string `json:"incident_contact,omitempty" nullable:"true" maxLength:"200"`
	CriticalityLevel     *int    `json:"criticality_level,omitempty" nullable:"true" minimum:"1" maximum:"4"`
	PubliclyAccessible   *bool   `json:"publicly_accessible,omitempty" nullable:"true"`
	IsClientConfidential *bool   `json:"is_client_confidential,omitempty" nullable:"true" doc:"True unless said otherwise."`
}

// Applications is a page of applications, by id.
type Applications struct {
	Items      []Application `json:"items"`
	NextCursor string        `json:"next_cursor,omitempty" doc:"Pass it as cursor to get the next page. Absent on the last one."`
}

// Grant is one scope that an application holds.
type Grant struct {
	Scope     string    `json:"scope" example:"sales_order.read_all"`
	Kind      string    `json:"kind" enum:"application,resource_owner" doc:"application: it may do this on its own account. resource_owner: its client may ask a resource owner for it."`
	GrantedBy string    `json:"granted_by"`
	Granted   time.Time `json:"granted"`
}

// Grants are all scopes of an application, by name.
type Grants struct {
	Items []Grant `json:"items"`
}
