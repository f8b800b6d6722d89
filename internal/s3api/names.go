package s3api

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxKey is the length of the longest key, in bytes, as in S3.
const maxKey = 1024

// maxSlashes bounds how deep an object lies. Each slash is a directory that is made durable by itself, and every step is
// looked at from the top: with a thousand of them one request keeps the bucket busy for seconds.
const maxSlashes = 64

var bucketGrammar = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

var addressForm = regexp.MustCompile(`^[0-9.]+$`)

// ValidBucketName tells whether the text can name a bucket: 3 to 63 lower-case letters, digits, dots and hyphens, no
// two dots in a row, and nothing that reads like an IP address.
func ValidBucketName(name string) bool {
	return bucketGrammar.MatchString(name) && !strings.Contains(name, "..") && !addressForm.MatchString(name)
}

// validKey tells whether the text can be the key of an object: UTF-8 of at most 1024 bytes, without control characters,
// with at most 64 slashes, and no segment of it is "." or "..", so that no client that cleans paths ends at another object.
func validKey(key string) bool {
	if key == "" || len(key) > maxKey || strings.Count(key, "/") > maxSlashes || !utf8.ValidString(key) {
		return false
	}
	for _, r := range key {
		if r < 0x20 || r == 0x7f || r == 0xfffe || r == 0xffff {
			return false
		}
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// splitPath takes the path of a path-style URL apart. "/" has neither bucket nor key; "/bucket" and "/bucket/" no key.
func splitPath(path string) (bucket, key string, e *apiError) {
	path, ok := strings.CutPrefix(path, "/")
	if !ok {
		return "", "", refuse(400, "InvalidURI", "The path must be /<bucket>/<key>.")
	}
	bucket, key, _ = strings.Cut(path, "/")
	switch {
	case bucket == "" && key == "":
		return "", "", nil
	case !ValidBucketName(bucket):
		return "", "", refuse(400, "InvalidBucketName", "The specified bucket is not valid.")
	case len(key) > maxKey:
		return "", "", refuse(400, "KeyTooLongError", "Your key is too long.")
	case key != "" && !validKey(key):
		return "", "", invalidArgument("This endpoint does not take such a key: UTF-8 without control characters, with at most 64 slashes, and no segment that is . or .. .")
	}
	return bucket, key, nil
}

// How the name of an object becomes the name of a file. Each segment of the key is escaped to [a-z0-9._-] and %xx, cut
// into pieces that every file system can hold, and each piece ends with a mark:
//
//   - a directory; the segment goes on in the next piece
//     =  a directory; the segment ends, and a slash follows
//     @  a file; the key ends
//
// So sales-orders/user.json lies in sales-orders=/user.json@, the keys "a" and "a/b" do not stand in each other's way,
// a file system that ignores case does not mix "A" and "a", and no name is "." or "..", or that of the directory of
// unfinished files, whatever the key.
const (
	markMore = '+'
	markDir  = '='
	markFile = '@'
	maxPiece = 200
)

const lowerHexDigits = "0123456789abcdef"

func plainByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

// fileName is the file of a key, below its bucket.
func fileName(key string) string {
	var b strings.Builder
	piece := 0
	for i := range len(key) {
		c := key[i]
		if c == '/' {
			b.WriteByte(markDir)
			b.WriteByte('/')
			piece = 0
			continue
		}
		if piece >= maxPiece-3 {
			b.WriteByte(markMore)
			b.WriteByte('/')
			piece = 0
		}
		if plainByte(c) {
			b.WriteByte(c)
			piece++
			continue
		}
		b.WriteByte('%')
		b.WriteByte(lowerHexDigits[c>>4])
		b.WriteByte(lowerHexDigits[c&15])
		piece += 3
	}
	b.WriteByte(markFile)
	return b.String()
}

// keyOf is the key, or the beginning of one, that a name below a bucket stands for. It takes exactly what fileName
// makes, and the directories on the way.
func keyOf(name string) (key string, isFile, ok bool) {
	var b strings.Builder
	pieces := strings.Split(name, "/")
	for i, piece := range pieces {
		if piece == "" {
			return "", false, false
		}
		text, mark := piece[:len(piece)-1], piece[len(piece)-1]
		if !unescapePiece(&b, text) || mark == markFile && i != len(pieces)-1 {
			return "", false, false
		}
		switch mark {
		case markDir:
			b.WriteByte('/')
		case markFile:
			key = b.String()
			return key, true, fileName(key) == name
		case markMore:
		default:
			return "", false, false
		}
	}
	key = b.String()
	return key, false, true
}

func unescapePiece(b *strings.Builder, text string) bool {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '%' {
			if !plainByte(c) {
				return false
			}
			b.WriteByte(c)
			continue
		}
		if i+2 >= len(text) {
			return false
		}
		hi, lo := strings.IndexByte(lowerHexDigits, text[i+1]), strings.IndexByte(lowerHexDigits, text[i+2])
		if hi < 0 || lo < 0 {
			return false
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	return true
}
