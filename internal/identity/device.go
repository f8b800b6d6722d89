package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

// Device is a browser that a person has signed in with. It proves nothing: a browser that is known only has its own count
// of wrong passwords, and a line in the list that its person sees.
type Device struct {
	ID        string
	Created   time.Time
	LastUsed  time.Time // the last login
	IP        string    // of that
	UserAgent string    // what the browser called itself then
	First     bool      // told to a DeviceHook: the person had none before
}

// DeviceHook is told when a person signs in with a browser for the first time, in the transaction of that.
type DeviceHook func(ctx context.Context, tx db.WriteTx, u User, d Device) error

const (
	deviceKind    = "known-device"
	devicePrefix  = "mmn_"
	deviceDigits  = 43
	maxDevices    = 50 // of one person; the one that was not used for the longest goes first
	forgetDevices = 400 * 24 * time.Hour
)

// OnNewDevice registers who is told of browsers that a person signs in with for the first time. Register before serving.
func (dir *Directory) OnNewDevice(f DeviceHook) { dir.people.onDevice = append(dir.people.onDevice, f) }

// DeviceValue tells whether a cookie may be what RememberDevice gave.
func DeviceValue(value string) (redact.Secret, bool) {
	rest, ok := strings.CutPrefix(value, devicePrefix)
	return redact.New(value), ok && len(rest) == deviceDigits
}

// KnownDevice tells whether the person has signed in with the browser that keeps this value. With userID empty nobody has.
func (dir *Directory) KnownDevice(ctx context.Context, tx db.ReadTx, userID string, value redact.Secret) (deviceID string, known bool, err error) {
	for _, mac := range dir.keyring.LookupMACs(deviceKind, value) {
		err := tx.QueryRow(ctx, `SELECT id FROM known_devices WHERE verifier = $1 AND user_id = $2`, mac, userID).Scan(&deviceID)
		if err == nil {
			return deviceID, true, nil
		}
		if !errors.Is(err, db.ErrNoRows) {
			return "", false, fmt.Errorf("look up a device: %w", err)
		}
	}
	return "", false, nil
}

// RememberDevice notes that the person has signed in with the browser that keeps value, and answers what it is to keep
// from now on: the same, or a new value if it had none that we gave.
func (dir *Directory) RememberDevice(ctx context.Context, tx db.WriteTx, u User, value redact.Secret, ip, userAgent string) (Device, redact.Secret, error) {
	d := Device{Created: tx.Now(), LastUsed: tx.Now(), IP: ip, UserAgent: userAgent}
	if !value.Empty() {
		deviceID, known, err := dir.KnownDevice(ctx, tx, u.ID, value)
		if err != nil {
			return d, value, err
		}
		if known {
			d.ID = deviceID
			return d, value, useDevice(ctx, tx, d)
		}
		if ours, err := dir.gaveDevice(ctx, tx, value); err != nil {
			return d, value, err
		} else if !ours {
			value = redact.Secret{} // a value that somebody else chose makes no device
		}
	}
	if value.Empty() {
		value = seal.NewSecret(devicePrefix)
	}
	d.ID = id.New(id.Device, tx.Now())
	if err := dir.insertDevice(ctx, tx, u, &d, value); err != nil {
		return d, value, err
	}
	for _, hook := range dir.people.onDevice {
		if err := hook(ctx, tx, u, d); err != nil {
			return d, value, err
		}
	}
	return d, value, nil
}

// gaveDevice tells whether the value was given to a browser, for whomever.
func (dir *Directory) gaveDevice(ctx context.Context, tx db.ReadTx, value redact.Secret) (bool, error) {
	for _, mac := range dir.keyring.LookupMACs(deviceKind, value) {
		var deviceID string
		err := tx.QueryRow(ctx, `SELECT id FROM known_devices WHERE verifier = $1 LIMIT 1`, mac).Scan(&deviceID)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, db.ErrNoRows) {
			return false, fmt.Errorf("look up a device: %w", err)
		}
	}
	return false, nil
}

func useDevice(ctx context.Context, tx db.WriteTx, d Device) error {
	if err := db.One(tx.Exec(ctx, `UPDATE known_devices SET last_used = $2, ip = $3, user_agent = $4 WHERE id = $1`, d.ID, db.Micros(d.LastUsed), d.IP, d.UserAgent)); err != nil {
		return fmt.Errorf("note the use of a device: %w", err)
	}
	return nil
}

// insertDevice stores one, and removes the oldest of a person who has very many.
func (dir *Directory) insertDevice(ctx context.Context, tx db.WriteTx, u User, d *Device, value redact.Secret) error {
	ids, err := db.Texts(ctx, tx, `SELECT id FROM known_devices WHERE user_id = $1 ORDER BY last_used DESC`, u.ID)
	if err != nil {
		return fmt.Errorf("list devices: %w", err)
	}
	d.First = len(ids) == 0
	for _, old := range ids[min(len(ids), maxDevices-1):] {
		if _, err := tx.Exec(ctx, `DELETE FROM known_devices WHERE id = $1`, old); err != nil {
			return fmt.Errorf("forget a device: %w", err)
		}
	}
	if err := db.One(tx.Exec(ctx, `INSERT INTO known_devices (id, user_id, verifier, created, last_used, ip, user_agent) VALUES ($1, $2, $3, $4, $4, $5, $6)`,
		d.ID, u.ID, dir.keyring.MAC(deviceKind, value), db.Micros(d.Created), d.IP, d.UserAgent)); err != nil {
		return fmt.Errorf("store a device: %w", err)
	}
	return record(ctx, tx, access.Caller{Kind: access.Person, ID: u.ID, Name: u.Username, Realm: u.Realm, IP: d.IP, Agent: d.UserAgent}, "user.add_device", u.ID, map[string]any{"device": d.ID})
}

// ListDevices lists the browsers that the person has signed in with, the last used first.
func ListDevices(ctx context.Context, tx db.ReadTx, userID string) ([]Device, error) {
	rows, err := tx.Query(ctx, `SELECT id, created, last_used, ip, user_agent FROM known_devices WHERE user_id = $1 ORDER BY last_used DESC, id LIMIT $2`, userID, maxDevices)
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	defer rows.Close()
	var list []Device
	for rows.Next() {
		var d Device
		var created, used int64
		if err := rows.Scan(&d.ID, &created, &used, &d.IP, &d.UserAgent); err != nil {
			return nil, fmt.Errorf("read a device: %w", err)
		}
		d.Created, d.LastUsed = db.Time(created), db.Time(used)
		list = append(list, d)
	}
	return list, rows.Err()
}

// ForgetDevice takes a browser off the list of the caller's own. Another person's is not found.
func (dir *Directory) ForgetDevice(ctx context.Context, tx db.WriteTx, c access.Caller, deviceID string) error {
	n, err := tx.Exec(ctx, `DELETE FROM known_devices WHERE id = $1 AND user_id = $2`, deviceID, c.ID)
	if err != nil {
		return fmt.Errorf("forget a device: %w", err)
	}
	if n == 0 {
		return fault.New(fault.NotFound, "device_not_found", "You have no such device.")
	}
	return record(ctx, tx, c, "user.remove_device", c.ID, map[string]any{"device": deviceID})
}

// SweepDevices forgets browsers that were not used for longer than they keep what they are known by.
func (dir *Directory) SweepDevices(ctx context.Context) error {
	_, err := dir.d.RemoveExpired(ctx, db.Expiry{Table: "known_devices", Key: "id", Column: "last_used", Keep: forgetDevices})
	return err
}
