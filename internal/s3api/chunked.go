package s3api

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"
)

// The ways in which a body is sent in signed or checked pieces.
const (
	streamSigned          = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamSignedTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	streamUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// Bounds of what stands around the pieces of a body.
const (
	maxLine     = 4096 // of a chunk's head or a trailer
	maxTrailers = 8
	maxChunks   = 1 << 16 // 256 bytes a chunk in the largest object; clients send 8 KiB and more
)

// chunkSigner is what it takes to check the signatures along a body: each one covers the one before.
type chunkSigner struct {
	key      []byte
	date     string
	scope    scope
	previous string // signature of the request, then of the last chunk
}

func (s *chunkSigner) check(text, signature string) bool {
	want := hex.EncodeToString(hmacSHA256(s.key, text))
	ok := hmac.Equal([]byte(want), []byte(signature))
	s.previous = want
	return ok
}

func (s *chunkSigner) chunk(sum []byte, signature string) bool {
	return s.check(algorithm+"-PAYLOAD\n"+s.date+"\n"+s.scope.String()+"\n"+s.previous+"\n"+emptySHA256+"\n"+hex.EncodeToString(sum), signature)
}

func (s *chunkSigner) trailer(canonical, signature string) bool {
	return s.check(algorithm+"-TRAILER\n"+s.date+"\n"+s.scope.String()+"\n"+s.previous+"\n"+hexSHA256([]byte(canonical)), signature)
}

// chunkedReader decodes aws-chunked content:
//
//	<hex size>[;chunk-signature=<hex>]\r\n <data> \r\n … 0[;chunk-signature=<hex>]\r\n [<trailer>: <value>\r\n]… \r\n
//
// It gives data out before the signature of its chunk is checked, so that it need not keep a chunk in memory: what was
// read counts only once Read has returned io.EOF.
type chunkedReader struct {
	r        *bufio.Reader
	signer   *chunkSigner // nil: chunks are not signed
	declared []string     // trailers that the request announced, lower-case
	trailers map[string]string

	left      int64     // bytes of this chunk still to come
	signature string    // of this chunk
	sum       hash.Hash // of this chunk's data
	begun     bool      // a chunk's head was read
	chunks    int
	err       error // how it ended
}

func newChunkedReader(r io.Reader, signer *chunkSigner, declared []string) *chunkedReader {
	return &chunkedReader{r: bufio.NewReaderSize(r, maxLine), signer: signer, declared: declared, trailers: map[string]string{}, sum: sha256.New()}
}

// Read gives out data; io.EOF means that all of it was there and every signature was right.
func (c *chunkedReader) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	for c.left == 0 {
		if c.err = c.next(); c.err != nil {
			return 0, c.err
		}
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if c.signer != nil {
		c.sum.Write(p[:n])
	}
	if err != nil {
		c.err = broken(err)
	}
	return n, c.err
}

// broken makes an early end of the body a refusal.
func broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errIncomplete
	}
	return err
}

// next ends the chunk that was read, if any, and begins another; io.EOF after the last.
func (c *chunkedReader) next() error {
	if c.begun {
		if err := c.endChunk(); err != nil {
			return err
		}
	}
	head, err := c.line()
	if err != nil {
		return err
	}
	if c.chunks++; c.chunks > maxChunks {
		return refuse(400, "InvalidChunkSizeError", "The body is cut into too many chunks.")
	}
	size, extension, _ := strings.Cut(head, ";")
	signature, signed := strings.CutPrefix(extension, "chunk-signature=")
	if signed != (c.signer != nil) || !signed && extension != "" || size == "" || len(size) > 16 || !lowerHex(strings.ToLower(size)) {
		return errMalformedBody
	}
	n, err := strconv.ParseInt(size, 16, 64)
	if err != nil {
		return errMalformedBody
	}
	c.left, c.begun, c.signature = n, true, signature
	c.sum.Reset()
	if n > 0 {
		return nil
	}
	return c.finish()
}

func (c *chunkedReader) endChunk() error {
	end, err := c.line()
	if err != nil {
		return err
	}
	if end != "" {
		return errMalformedBody
	}
	return c.checkChunk()
}

func (c *chunkedReader) checkChunk() error {
	if c.signer != nil && !c.signer.chunk(c.sum.Sum(nil), c.signature) {
		return errSignature
	}
	return nil
}

// finish reads what follows the empty chunk and checks that nothing follows after that.
func (c *chunkedReader) finish() error {
	if err := c.checkChunk(); err != nil {
		return err
	}
	canonical, signature := "", ""
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if !ok || len(c.trailers) == maxTrailers || signature != "" {
			return errMalformedBody
		}
		if name == "x-amz-trailer-signature" && c.signer != nil && len(c.declared) > 0 {
			signature = value
			continue
		}
		if _, twice := c.trailers[name]; twice || !slices.Contains(c.declared, name) {
			return refuse(400, "MalformedTrailerError", "The body has a trailer that the header x-amz-trailer did not announce, or has it twice.")
		}
		c.trailers[name] = value
		canonical += name + ":" + value + "\n"
	}
	if len(c.trailers) != len(c.declared) {
		return refuse(400, "MalformedTrailerError", "The body lacks a trailer that the header x-amz-trailer announced.")
	}
	if c.signer != nil && len(c.declared) > 0 && !c.signer.trailer(canonical, signature) {
		return errSignature
	}
	if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		return errMalformedBody
	}
	return io.EOF
}

// line reads up to CR LF.
func (c *chunkedReader) line() (string, error) {
	b, err := c.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", errMalformedBody
	}
	if err != nil {
		return "", broken(err)
	}
	s, ok := strings.CutSuffix(string(b), "\r\n")
	if !ok {
		return "", errMalformedBody
	}
	return s, nil
}
