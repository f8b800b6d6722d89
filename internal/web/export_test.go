package web

// ReturnTo is where a login leads.
var ReturnTo = returnTo

var (
	ParseTexts = parseTexts
	Accepted   = accepted
)
