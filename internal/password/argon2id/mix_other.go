//go:build !amd64

package argon2id

// vectors says that there is no other code than the portable one.
var vectors = false

func mix(out, a, b, t *block, xor bool) { mixPortable(out, a, b, t, xor) }
