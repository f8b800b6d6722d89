package id

import (
	"encoding/hex"
	"strings"
)

// UUID writes the 128 bits of an id as a UUID (RFC 9562 section 4), for interfaces whose callers keep ids in columns of
// that type. The bits are ours and claim no version. What is no id gives "".
func UUID(s string) string {
	_, digits, ok := strings.Cut(s, "_")
	if !ok || len(digits) != 26 {
		return ""
	}
	b, ok := decode(digits)
	if !ok {
		return ""
	}
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// FromUUID is the id with this prefix whose bits the UUID has; ok is false for what is no UUID. Letters may be of either
// case, as the RFC wants it of who reads.
func FromUUID(prefix, uuid string) (s string, ok bool) {
	if len(uuid) != 36 || uuid[8] != '-' || uuid[13] != '-' || uuid[18] != '-' || uuid[23] != '-' || !validPrefix(prefix) {
		return "", false
	}
	var b [16]byte
	digits := uuid[:8] + uuid[9:13] + uuid[14:18] + uuid[19:23] + uuid[24:]
	if _, err := hex.Decode(b[:], []byte(digits)); err != nil {
		return "", false
	}
	return prefix + "_" + encode(b), true
}
