package loadgen

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// conn is one kept-alive HTTP/1.1 connection. It sends bytes that were made beforehand and parses only what is needed, so
// that the load costs little beside the server, which runs on the same processors.
type conn struct {
	addr string
	c    net.Conn
	r    *bufio.Reader
	body []byte // of the last answer

	location string // of the last answer, if it redirects
}

const answerLimit = 30 * time.Second

func (c *conn) dial() error {
	n, err := net.DialTimeout("tcp", c.addr, 5*time.Second)
	if err != nil {
		return err
	}
	c.c = n
	if c.r == nil {
		c.r = bufio.NewReaderSize(n, 16<<10)
	} else {
		c.r.Reset(n)
	}
	return nil
}

func (c *conn) close() {
	if c.c != nil {
		c.c.Close()
		c.c = nil
	}
}

var errStale = errors.New("the server had closed the connection")

// do sends one request and reads its answer; the body is valid until the next call. A kept-alive connection that the
// server had closed already is dialled again, once.
func (c *conn) do(request []byte) (status int, body []byte, err error) {
	fresh := c.c == nil
	if fresh {
		if err := c.dial(); err != nil {
			return 0, nil, err
		}
	}
	status, err = c.exchange(request)
	if errors.Is(err, errStale) && !fresh {
		c.close()
		if err := c.dial(); err != nil {
			return 0, nil, err
		}
		status, err = c.exchange(request)
	}
	if err != nil {
		c.close()
	}
	return status, c.body, err
}

func (c *conn) exchange(request []byte) (status int, err error) {
	if err := c.c.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return 0, err
	}
	if _, err := c.c.Write(request); err != nil {
		return 0, fmt.Errorf("%w: %w", errStale, err)
	}
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		var slow net.Error
		if errors.As(err, &slow) && slow.Timeout() {
			return 0, err // a slow answer is an error; the request is never sent twice
		}
		return 0, fmt.Errorf("%w: %w", errStale, err)
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return 0, fmt.Errorf("not HTTP: %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, fmt.Errorf("not HTTP: %q", line)
	}
	return status, c.rest(status)
}

// rest reads the header fields and the body.
func (c *conn) rest(status int) error {
	length, chunked, closing := -1, false, false
	c.location = ""
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case len(name) == 14 && bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return err
			}
		case len(name) == 17 && bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case status/100 == 3 && len(name) == 8 && bytes.EqualFold(name, []byte("location")):
			c.location = string(value)
		case len(name) == 10 && bytes.EqualFold(name, []byte("connection")):
			closing = bytes.EqualFold(value, []byte("close"))
		}
	}
	c.body = c.body[:0]
	var err error
	switch {
	case chunked:
		err = c.chunks()
	case length >= 0:
		err = c.take(length)
	case status == 204 || status == 304:
	default:
		var b []byte
		b, err = io.ReadAll(c.r)
		c.body, closing = append(c.body, b...), true
	}
	if closing {
		c.close()
	}
	return err
}

func (c *conn) chunks() error {
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return err
		}
		size, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		n, err := strconv.ParseInt(size, 16, 32)
		if err != nil {
			return err
		}
		if err := c.take(int(n)); err != nil {
			return err
		}
		if _, err := c.r.Discard(2); err != nil || n == 0 {
			return err
		}
	}
}

func (c *conn) take(n int) error {
	at := len(c.body)
	c.body = append(c.body, make([]byte, n)...)
	_, err := io.ReadFull(c.r, c.body[at:])
	return err
}
