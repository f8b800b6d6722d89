package api

import "time"

// ResourceType is a class of data, such as sales_order, whose owners may be users of some realms or of none.
type ResourceType struct {
	ID             string    `json:"id" doc:"Such as sales_order. At most one dot; what stands before it may name the application that owns the type."`
	Name           string    `json:"name"`
	Description    string    `json:"description"`
	ResourceOwners []string  `json:"resource_owners" doc:"Realms whose users may own such data, sorted."`
	TeamID         string    `json:"team_id" doc:"The team that may change the type: the explicit one, or the team of the owning application."`
	OwnedBy        string    `json:"owned_by" enum:"application,team" doc:"Whether team_id follows from the application before the first dot."`
	Created        time.Time `json:"created"`
	CreatedBy      string    `json:"created_by"`
	LastModified   time.Time `json:"last_modified"`
	LastModifiedBy string    `json:"last_modified_by"`
}

// PutResourceType is the whole content of a resource type: what is absent is emptied.
type PutResourceType struct {
	Name           string   `json:"name" minLength:"1" maxLength:"200"`
	Description    string   `json:"description,omitempty" maxLength:"16384" doc:"Markdown."`
	ResourceOwners []string `json:"resource_owners,omitempty" maxItems:"32" doc:"Realms, with or without a leading slash. Needed as soon as the type has a resource owner scope."`
	TeamID         string   `json:"team_id,omitempty" maxLength:"100" doc:"Required unless an application owns the type."`
}

// ResourceTypes is a page of resource types, by id.
type ResourceTypes struct {
	Items      []ResourceType `json:"items"`
	NextCursor string         `json:"next_cursor,omitempty" doc:"Pass it as cursor to get the next page. Absent on the last one."`
}

// Scope is a permission on one resource type. Its full name is <resource_type>.<id>.
type Scope struct {
	ID                   string    `json:"id" doc:"Such as read_all."`
	ResourceType         string    `json:"resource_type"`
	Summary              string    `json:"summary"`
	Description          string    `json:"description"`
	UserInformation      string    `json:"user_information" doc:"For the consent page: 'the application would like to …'."`
	IsResourceOwnerScope bool      `json:"is_resource_owner_scope" doc:"True: a resource owner gives it by consent. False: an administrator grants it to an application."`
	CriticalityLevel     int       `json:"criticality_level" minimum:"1" maximum:"3"`
	Created              time.Time `json:"created"`
	CreatedBy            string    `json:"created_by"`
	LastModified         time.Time `json:"last_modified"`
	LastModifiedBy       string    `json:"last_modified_by"`
}

// PutScope is the whole content of a scope: what is absent is emptied, but criticality_level becomes 2.
type PutScope struct {
	Summary              string `json:"summary" minLength:"1" maxLength:"500"`
	Description          string `json:"description,omitempty" maxLength:"16384" doc:"Markdown."`
	UserInformation      string `json:"user_information,omitempty" maxLength:"1000"`
	IsResourceOwnerScope bool   `json:"is_resource_owner_scope"`
	CriticalityLevel     int    `json:"criticality_level,omitempty" minimum:"1" maximum:"3" default:"2"`
}

// Scopes are all scopes of one resource type, by id.
type Scopes struct {
	Items []Scope `json:"items"`
}
