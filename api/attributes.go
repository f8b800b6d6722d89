package api

import "encoding/json"

// UserAttribute is something that a realm keeps of a person besides what is kept of everybody, as its configuration
// declares it.
type UserAttribute struct {
	Name     string          `json:"name" example:"department"`
	Type     string          `json:"type,omitempty" doc:"string, number, boolean or list (of strings); absent if the attribute is declared no more, and clients are not told of it."`
	Claim    string          `json:"claim,omitempty" doc:"What clients are told it by."`
	Scope    string          `json:"scope,omitempty" doc:"What a client asks for to be told, if an administrator lets it (person_scopes) and the person allows it."`
	Editable string          `json:"editable,omitempty" doc:"Who changes it: administrator, or person, that is administrators and the person itself."`
	Value    json.RawMessage `json:"value,omitempty" doc:"Absent: none."`
}

// UserAttributes are all attributes of the person's realm, and what else is kept.
type UserAttributes struct {
	Items []UserAttribute `json:"items"`
}

// PutUserAttributes changes attributes of a person. What is absent stays as it is.
type PutUserAttributes struct {
	Attributes map[string]json.RawMessage `json:"attributes" doc:"Values by name, of the type that is declared; null for none."`
}
