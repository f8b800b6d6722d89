//go:build !faultinject

// Package failpoint marks the places where a test makes the program fail, stop or die.
//
// Release builds hold none of it: without the build tag faultinject Hit is an empty function that the compiler removes.
package failpoint

// Enabled tells whether this build can fail on request.
const Enabled = false

// Hit does nothing.
func Hit(string) error { return nil }
