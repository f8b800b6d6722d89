package argon2id

import "math/bits"

// mixPortable is the compression G (RFC 9106, section 3.5): of a and b, put into out, or added to what is there with xor.
// out may be a or b.
func mixPortable(out, a, b, t *block, xor bool) {
	for i := range t {
		t[i] = a[i] ^ b[i]
	}
	before := *t
	for r := 0; r < words; r += 16 {
		permute(&t[r], &t[r+1], &t[r+2], &t[r+3], &t[r+4], &t[r+5], &t[r+6], &t[r+7],
			&t[r+8], &t[r+9], &t[r+10], &t[r+11], &t[r+12], &t[r+13], &t[r+14], &t[r+15])
	}
	for c := 0; c < 16; c += 2 {
		permute(&t[c], &t[c+1], &t[c+16], &t[c+17], &t[c+32], &t[c+33], &t[c+48], &t[c+49],
			&t[c+64], &t[c+65], &t[c+80], &t[c+81], &t[c+96], &t[c+97], &t[c+112], &t[c+113])
	}
	for i := range t {
		x := t[i] ^ before[i]
		if xor {
			x ^= out[i]
		}
		out[i] = x
	}
}

// permute is P (section 3.6): a round of BLAKE2b with multiplications.
func permute(t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, ta, tb, tc, td, te, tf *uint64) {
	v0, v1, v2, v3, v4, v5, v6, v7 := *t0, *t1, *t2, *t3, *t4, *t5, *t6, *t7
	v8, v9, va, vb, vc, vd, ve, vf := *t8, *t9, *ta, *tb, *tc, *td, *te, *tf
	v0, v4, v8, vc = quarter(v0, v4, v8, vc)
	v1, v5, v9, vd = quarter(v1, v5, v9, vd)
	v2, v6, va, ve = quarter(v2, v6, va, ve)
	v3, v7, vb, vf = quarter(v3, v7, vb, vf)
	v0, v5, va, vf = quarter(v0, v5, va, vf)
	v1, v6, vb, vc = quarter(v1, v6, vb, vc)
	v2, v7, v8, vd = quarter(v2, v7, v8, vd)
	v3, v4, v9, ve = quarter(v3, v4, v9, ve)
	*t0, *t1, *t2, *t3, *t4, *t5, *t6, *t7 = v0, v1, v2, v3, v4, v5, v6, v7
	*t8, *t9, *ta, *tb, *tc, *td, *te, *tf = v8, v9, va, vb, vc, vd, ve, vf
}

func quarter(a, b, c, d uint64) (uint64, uint64, uint64, uint64) {
	a += b + 2*uint64(uint32(a))*uint64(uint32(b))
	d = bits.RotateLeft64(d^a, -32)
	c += d + 2*uint64(uint32(c))*uint64(uint32(d))
	b = bits.RotateLeft64(b^c, -24)
	a += b + 2*uint64(uint32(a))*uint64(uint32(b))
	d = bits.RotateLeft64(d^a, -16)
	c += d + 2*uint64(uint32(c))*uint64(uint32(d))
	b = bits.RotateLeft64(b^c, -63)
	return a, b, c, d
}
