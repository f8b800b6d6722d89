package api

import "time"

// Group is a named set of people of one realm. Clients are told of it that may ask for the scope groups.
type Group struct {
	ID          string    `json:"id" example:"grp_01k8p4x0v3c9m6t2r5w8y1z4q7"`
	Realm       string    `json:"realm" example:"employees"`
	Name        string    `json:"name" example:"engineering"`
	Description string    `json:"description,omitempty"`
	Created     time.Time `json:"created"`
	CreatedBy   string    `json:"created_by"`
}

// Groups is a page of groups, in the order of realm and name.
type Groups struct {
	Items      []Group `json:"items"`
	NextCursor string  `json:"next_cursor,omitempty" doc:"Pass it as cursor to read on; absent on the last page."`
}

// CreateGroup makes a group.
type CreateGroup struct {
	Realm       string `json:"realm" maxLength:"41" example:"employees" doc:"A realm of people."`
	Name        string `json:"name" maxLength:"100" example:"engineering" doc:"What clients are told. One in its realm, without regard to case and accents."`
	Description string `json:"description,omitempty" maxLength:"1000"`
}

// UpdateGroup replaces name and description of a group.
type UpdateGroup struct {
	Name        string `json:"name" maxLength:"100" example:"engineering"`
	Description string `json:"description,omitempty" maxLength:"1000"`
}

// GroupMember is somebody in a group.
type GroupMember struct {
	UserID      string    `json:"user_id" example:"usr_01k8p4x0v3c9m6t2r5w8y1z4q7"`
	Realm       string    `json:"realm" example:"employees"`
	Username    string    `json:"username" example:"jane"`
	DisplayName string    `json:"display_name" example:"Jane Doe"`
	Added       time.Time `json:"added"`
	AddedBy     string    `json:"added_by"`
}

// GroupMembers is a page of who is in a group, in the order of ids.
type GroupMembers struct {
	Items      []GroupMember `json:"items"`
	NextCursor string        `json:"next_cursor,omitempty" doc:"Pass it as cursor to read on; absent on the last page."`
}
