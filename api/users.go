package api

import "time"

// User is a person: who signs in with a name and a password.
type User struct {
	ID             string     `json:"id" example:"usr_01k8p4x0v3c9m6t2r5w8y1z4q7"`
	Realm          string     `json:"realm" example:"employees"`
	Username       string     `json:"username" example:"jane"`
	DisplayName    string     `json:"display_name" example:"Jane Doe"`
	Email          string     `json:"email,omitempty" example:"jane@example.org"`
	EmailVerified  bool       `json:"email_verified" doc:"Whether the person has shown to receive mail at the address."`
	Phone          string     `json:"phone,omitempty" example:"+41 31 555 01 01"`
	Address        string     `json:"address,omitempty" doc:"Of a house, in lines."`
	Admin          bool       `json:"admin" doc:"Holds the administrator role."`
	Enabled        bool       `json:"enabled"`
	HasPassword    bool       `json:"has_password" doc:"Whether the person can sign in with a password."`
	Created        time.Time  `json:"created"`
	Disabled       *time.Time `json:"disabled,omitempty"`
	DisabledReason string     `json:"disabled_reason,omitempty" doc:"What the administrator said who disabled the person."`
}

// Users is a page of people, in the order of realm and username, or of what was searched for.
type Users struct {
	Items      []User `json:"items"`
	NextCursor string `json:"next_cursor,omitempty" doc:"Pass it as cursor to read on; absent on the last page. A page of a search may be short, or empty, and yet not be the last."`
}

// CreateUser makes a person known.
type CreateUser struct {
	Realm       string `json:"realm" maxLength:"41" example:"employees" doc:"A realm of people."`
	Username    string `json:"username" maxLength:"400" example:"jane" doc:"Kept in the form of RFC 8265, UsernameCaseMapped; it never changes."`
	DisplayName string `json:"display_name,omitempty" maxLength:"200" example:"Jane Doe" doc:"Default: the username."`
	Email       string `json:"email,omitempty" maxLength:"254" example:"jane@example.org" doc:"Also a name to sign in with."`
	Phone       string `json:"phone,omitempty" maxLength:"40" example:"+41 31 555 01 01"`
	Address     string `json:"address,omitempty" maxLength:"400" doc:"Of a house, in lines."`
	Admin       bool   `json:"admin,omitempty" doc:"Give the administrator role."`
	Password    string `json:"password,omitempty" maxLength:"1024" doc:"At least 15 characters. Without one the person cannot sign in with a password."`
}

// SetPassword gives a person another password.
type SetPassword struct {
	Password string `json:"password" maxLength:"1024" doc:"At least 15 characters."`
}

// UpdateUser changes what is known of a person. What is absent stays as it is.
type UpdateUser struct {
	DisplayName *string `json:"display_name,omitempty" maxLength:"200"`
	Email       *string `json:"email,omitempty" maxLength:"254" doc:"Another address is not verified: its person is sent a link. A username that was the address before follows it."`
	Phone       *string `json:"phone,omitempty" maxLength:"40" doc:"Empty: none."`
	Address     *string `json:"address,omitempty" maxLength:"400" doc:"Of a house, in lines. Empty: none."`
}

// DisableUser says why a person is disabled.
type DisableUser struct {
	Reason string `json:"reason,omitempty" maxLength:"200" example:"left the company" doc:"For other administrators; one line."`
}

// Invitation is a link with which a person chooses a password.
type Invitation struct {
	Sent    bool      `json:"sent" doc:"Whether it goes to the person by mail."`
	Link    string    `json:"link,omitempty" doc:"Only if it does not, because mail is off or there is no address: whoever has the link can choose the password."`
	Expires time.Time `json:"expires"`
}
