package web

import "github.com/mintmark/mintmark/internal/translation"

// ReturnTo is where a login leads.
var ReturnTo = returnTo

var (
	ParseTexts = translation.Parse
	Accepted   = accepted
)
