package argon2id

import "golang.org/x/sys/cpu"

// vectors tells whether the processor computes with 256 bits at a time, as all servers since about 2015 do.
var vectors = cpu.X86.HasAVX2

// mixAVX2 is mixPortable (mix_amd64.s). It looks at no memory but its arguments, and nothing in it depends on what is in
// them.
//
//go:noescape
func mixAVX2(out, a, b, t *block, xor uint64)

func mix(out, a, b, t *block, xor bool) {
	if !vectors {
		mixPortable(out, a, b, t, xor)
		return
	}
	var x uint64
	if xor {
		x = 1
	}
	mixAVX2(out, a, b, t, x)
}
