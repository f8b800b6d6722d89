package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/mintmark/mintmark/api"
)

type storageKeyCommands struct {
	Create storageKeyCreate `cmd:"" help:"Make an S3 access key that reads the application's own credentials, and print it once."`
	List   storageKeyList   `cmd:"" help:"List the access keys of an application."`
	Delete storageKeyDelete `cmd:"" help:"End an access key."`
}

type storageKeyCreate struct {
	Application string `arg:"" help:"Id of the application."`
	Bucket      string `arg:"" help:"A bucket of the embedded S3 endpoint that belongs to the same team."`
	File        string `type:"path" help:"Write it into this new file (mode 0600) instead, as AWS_SHARED_CREDENTIALS_FILE takes it."`
}

func (storageKeyCreate) Help() string {
	return `The key may read below ID/ in that one bucket and nothing else. The secret is shown this once.

Examples:

    mintmark app storage-key create sales-orders shop-mint --file agent-key
    eval "$(mintmark app storage-key create sales-orders shop-mint)"; export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY`
}

func (cmd *storageKeyCreate) Run(ctx context.Context, s *Session) (err error) {
	c, err := s.client()
	if err != nil {
		return err
	}
	// The file comes first: a key that cannot be kept must not be made.
	var file *os.File
	if cmd.File != "" {
		if file, err = os.OpenFile(cmd.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return fmt.Errorf("make the file for the key: %w", err)
		}
		defer func() {
			if closed := file.Close(); err == nil && closed != nil {
				err = fmt.Errorf("write the key: %w", closed)
			}
			if err != nil {
				os.Remove(cmd.File) // it is empty or broken; the error that is returned says so
			}
		}()
	}
	k, err := c.IssueStorageKey(ctx, cmd.Application, api.IssueStorageKey{Bucket: cmd.Bucket})
	if err != nil {
		return err
	}
	if file != nil {
		if _, err := fmt.Fprintf(file, "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", k.ID, k.SecretAccessKey); err != nil {
			return fmt.Errorf("write the key: %w (end it with: mintmark app storage-key delete %s)", err, k.ID)
		}
		return s.print(k.StorageKey, func(w io.Writer) {
			fmt.Fprintf(w, "key %s reads %s; it is in %s\n", plain(k.ID), plain(k.Bucket+"/"+k.Prefix), plain(cmd.File))
		})
	}
	return s.print(k, func(w io.Writer) {
		fmt.Fprintf(w, "AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\n", plain(k.ID), plain(k.SecretAccessKey))
		s.say("key %s reads %s; its secret is not shown again", k.ID, k.Bucket+"/"+k.Prefix)
	})
}

type storageKeyList struct{ appID }

func (storageKeyList) Help() string {
	return `Examples:

    mintmark app storage-key list sales-orders`
}

func (cmd *storageKeyList) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	keys, err := c.StorageKeys(ctx, cmd.ID)
	if err != nil {
		return err
	}
	return s.print(keys, func(w io.Writer) {
		var rows [][]string
		for _, k := range keys.Items {
			rows = append(rows, []string{k.ID, k.Bucket + "/" + k.Prefix, s.at(k.Created), s.atMaybe(k.LastUsed), s.atMaybe(k.Disabled)})
		}
		s.table(w, cmd.ID+" has no storage keys", []string{"ID", "READS", "CREATED", "LAST USED", "ENDED"}, rows)
	})
}

type storageKeyDelete struct {
	ID string `arg:"" help:"Id of the key, as storage-key list shows it."`
}

func (storageKeyDelete) Help() string {
	return `Examples:

    mintmark app storage-key delete MMABCDEFGHIJKLMNOPQR`
}

func (cmd *storageKeyDelete) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := c.DisableStorageKey(ctx, cmd.ID); err != nil {
		return err
	}
	s.say("ended storage key %s", cmd.ID)
	return nil
}
