package web

// ReturnTo is where a login leads.
var ReturnTo = returnTo
