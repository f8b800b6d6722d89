package password

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	gohash "hash"
	"strconv"
	"strings"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"

	"github.com/mintmark/mintmark/internal/password/argon2id"
)

// ErrForm is in the chain of an error about a stored form that is not known, or that costs too much.
var ErrForm = errors.New("password: the stored form is not known")

// The bounds of what a stored form may cost. They hold for hashes of other systems, which were not made by us.
const (
	maxForm       = 512
	maxMemory     = 256 * 1024 // KiB
	maxPasses     = 10
	maxThreads    = 8
	maxBcryptCost = 15
	maxIterations = 5_000_000
	minSalt       = 4
	maxSalt       = 64
	minSum        = 16
	maxSum        = 64
)

type kind int

const (
	argonHash kind = iota
	bcryptHash
	pbkdf2Hash
	scryptHash
)

// hash is a stored form taken apart.
type hash struct {
	kind   kind
	argon  Params
	salt   []byte
	sum    []byte
	text   string // bcrypt: the whole of it
	digest string // pbkdf2
	rounds int    // pbkdf2
	ln     int    // scrypt: N = 1<<ln
	r, p   int    // scrypt
}

// String is the stored form of a new hash.
func (h hash) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2id.Version, h.argon.Memory, h.argon.Time, h.argon.Threads,
		base64.RawStdEncoding.EncodeToString(h.salt), base64.RawStdEncoding.EncodeToString(h.sum))
}

func (h hash) matches(password []byte) bool {
	var sum []byte
	var err error
	switch h.kind {
	case argonHash:
		sum = argon2id.Key(password, h.salt, h.argon.Time, h.argon.Memory, h.argon.Threads, uint32(len(h.sum)))
	case bcryptHash:
		return bcrypt.CompareHashAndPassword([]byte(h.text), password) == nil
	case pbkdf2Hash:
		sum, err = pbkdf2.Key(digests[h.digest], string(password), h.salt, h.rounds, len(h.sum))
	case scryptHash:
		sum, err = scrypt.Key(password, h.salt, 1<<h.ln, h.r, h.p, len(h.sum))
	}
	return err == nil && subtle.ConstantTimeCompare(sum, h.sum) == 1
}

var digests = map[string]func() gohash.Hash{
	"pbkdf2": sha1.New, "pbkdf2-sha1": sha1.New, "pbkdf2-sha256": sha256.New, "pbkdf2-sha512": sha512.New,
}

func refuse(why string) (hash, error) { return hash{}, fmt.Errorf("%w: %s", ErrForm, why) }

// parse takes a stored form apart. It never puts a part of it into an error.
func parse(text string) (hash, error) {
	if len(text) > maxForm {
		return refuse("it is too long")
	}
	parts := strings.Split(text, "$")
	if len(parts) < 4 || parts[0] != "" {
		return refuse("it is no PHC string")
	}
	switch id := parts[1]; {
	case id == "argon2id":
		return parseArgon2(parts)
	case id == "2a" || id == "2b" || id == "2y":
		return parseBcrypt(text, parts)
	case id == "scrypt":
		return parseScrypt(parts)
	case digests[id] != nil:
		return parsePBKDF2(parts)
	}
	return refuse("its algorithm is not known")
}

func parseArgon2(parts []string) (hash, error) {
	if len(parts) != 6 || parts[2] != "v=19" {
		return refuse("argon2id: it must have version 19, parameters, salt and hash")
	}
	n, err := numbers(parts[3], "m", "t", "p")
	if err != nil {
		return hash{}, err
	}
	if n[0] < 8*n[2] || n[0] > maxMemory || n[1] < 1 || n[1] > maxPasses || n[2] < 1 || n[2] > maxThreads {
		return refuse("argon2id: it costs too much, or too little")
	}
	h := hash{kind: argonHash, argon: Params{Memory: uint32(n[0]), Time: uint32(n[1]), Threads: uint8(n[2])}}
	return h.filled(parts[4], parts[5])
}

func parseBcrypt(text string, parts []string) (hash, error) {
	cost, err := strconv.Atoi(parts[2])
	if err != nil || len(parts) != 4 || len(parts[3]) != 53 || len(parts[2]) != 2 || cost < 4 || cost > maxBcryptCost {
		return refuse("bcrypt: it costs too much, or is malformed")
	}
	if c, err := bcrypt.Cost([]byte(text)); err != nil || c != cost {
		return refuse("bcrypt: it is malformed")
	}
	return hash{kind: bcryptHash, text: text}, nil
}

// parsePBKDF2 reads the PHC form ($i=29000,l=32$) and that of passlib ($29000$, with "." for "+").
func parsePBKDF2(parts []string) (hash, error) {
	if len(parts) != 5 {
		return refuse("pbkdf2: it must have rounds, salt and hash")
	}
	rounds, err := strconv.Atoi(parts[2])
	if err != nil {
		first, _, _ := strings.Cut(parts[2], ",")
		n, err := numbers(first, "i")
		if err != nil {
			return hash{}, err
		}
		rounds = n[0]
	}
	if rounds < 1 || rounds > maxIterations {
		return refuse("pbkdf2: it costs too much, or nothing")
	}
	h := hash{kind: pbkdf2Hash, digest: parts[1], rounds: rounds}
	return h.filled(parts[3], parts[4])
}

func parseScrypt(parts []string) (hash, error) {
	if len(parts) != 5 {
		return refuse("scrypt: it must have parameters, salt and hash")
	}
	n, err := numbers(parts[2], "ln", "r", "p")
	if err != nil {
		return hash{}, err
	}
	// The memory is 128·N·r bytes.
	if n[0] < 1 || n[0] > 20 || n[1] < 1 || n[1] > 64 || n[2] < 1 || n[2] > 8 || n[1]<<n[0] > maxMemory*1024/128 {
		return refuse("scrypt: it costs too much, or nothing")
	}
	h := hash{kind: scryptHash, ln: n[0], r: n[1], p: n[2]}
	return h.filled(parts[3], parts[4])
}

// numbers reads "m=1,t=2,p=3": these names in this order.
func numbers(text string, names ...string) ([]int, error) {
	fields := strings.Split(text, ",")
	if len(fields) != len(names) {
		return nil, fmt.Errorf("%w: its parameters are malformed", ErrForm)
	}
	out := make([]int, len(names))
	for i, f := range fields {
		value, ok := strings.CutPrefix(f, names[i]+"=")
		n, err := strconv.ParseUint(value, 10, 31)
		if !ok || err != nil {
			return nil, fmt.Errorf("%w: its parameters are malformed", ErrForm)
		}
		out[i] = int(n)
	}
	return out, nil
}

// filled reads salt and hash.
func (h hash) filled(salt, sum string) (hash, error) {
	var err1, err2 error
	h.salt, err1 = unbase64(salt)
	h.sum, err2 = unbase64(sum)
	if err1 != nil || err2 != nil || len(h.salt) < minSalt || len(h.salt) > maxSalt || len(h.sum) < minSum || len(h.sum) > maxSum {
		return refuse("its salt or hash is malformed")
	}
	return h, nil
}

func unbase64(s string) ([]byte, error) {
	b := bytes.ReplaceAll([]byte(s), []byte("."), []byte("+")) // passlib's alphabet
	return base64.RawStdEncoding.Strict().AppendDecode(nil, bytes.TrimRight(b, "="))
}
