package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// The files of an application's credentials, in its bucket and in its directory alike.
const (
	UserFile   = "user.json"
	ClientFile = "client.json"
)

// ErrNoCredentials is in the chain of an error when a directory holds no usable credentials (yet).
var ErrNoCredentials = errors.New("no credentials")

// Credentials are an application's own: its service user and its OAuth client. They print as [redacted].
type Credentials struct {
	Username     string
	Password     string
	ClientID     string
	ClientSecret string // empty for a public client
}

// String masks.
func (Credentials) String() string { return "[redacted]" }

// GoString masks.
func (Credentials) GoString() string { return "[redacted]" }

// Format masks under every verb.
func (c Credentials) Format(f fmt.State, _ rune) { f.Write([]byte(c.String())) }

// LogValue masks.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON masks.
func (Credentials) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }

// ReadCredentials reads user.json and client.json from dir. Nothing is kept: read them each time they are used, for
// they change as they rotate. Another process may swap them meanwhile; a pair of which one half is old and one is new
// is valid too, but a directory that is caught in the middle of the swap is looked at again.
func ReadCredentials(dir string) (Credentials, error) {
	var c Credentials
	var err error
	for attempt := range 5 {
		if attempt > 0 {
			time.Sleep(time.Duration(attempt) * 5 * time.Millisecond)
		}
		if c, err = readOnce(dir); err == nil {
			return c, nil
		}
	}
	return Credentials{}, err
}

func readOnce(dir string) (Credentials, error) {
	var user struct {
		Username string `json:"application_username"`
		Password string `json:"application_password"`
	}
	var client struct {
		ID     string  `json:"client_id"`
		Secret *string `json:"client_secret"` // null for a public client
	}
	if err := readJSON(filepath.Join(dir, UserFile), &user); err != nil {
		return Credentials{}, err
	}
	if err := readJSON(filepath.Join(dir, ClientFile), &client); err != nil {
		return Credentials{}, err
	}
	if user.Username == "" || user.Password == "" {
		return Credentials{}, fmt.Errorf("%w: %s lacks application_username or application_password", ErrNoCredentials, filepath.Join(dir, UserFile))
	}
	if client.ID == "" {
		return Credentials{}, fmt.Errorf("%w: %s lacks client_id", ErrNoCredentials, filepath.Join(dir, ClientFile))
	}
	c := Credentials{Username: user.Username, Password: user.Password, ClientID: client.ID}
	if client.Secret != nil {
		c.ClientSecret = *client.Secret
	}
	return c, nil
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s does not exist (does `mintmark agent` run?)", ErrNoCredentials, path)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoCredentials, err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		// The cause may quote a byte of the file, which may be a byte of a secret; so only the place is told.
		return fmt.Errorf("%w: %s is not valid JSON", ErrNoCredentials, path)
	}
	return nil
}
