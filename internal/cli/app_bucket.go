package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/mintmark/mintmark/client"
)

type appBucketCommands struct {
	Add    appBucketAdd    `cmd:"" help:"Deliver the application's credentials to a bucket from now on."`
	List   appBucketList   `cmd:"" help:"List the buckets that the credentials are delivered to."`
	Remove appBucketRemove `cmd:"" help:"Deliver them there no more."`
}

// appBucketArguments name an application and one of its buckets.
type appBucketArguments struct {
	Application string `arg:"" help:"Id of the application."`
	Bucket      string `arg:"" help:"STORE/BUCKET, where STORE is configured on the server; BUCKET alone is one of the embedded S3 endpoint."`
}

func (a appBucketArguments) split() (store, bucket string, err error) {
	store, bucket, both := strings.Cut(a.Bucket, "/")
	if !both {
		store, bucket = client.LocalStore, a.Bucket
	}
	if store == "" || bucket == "" || strings.Contains(bucket, "/") {
		return "", "", usage(fmt.Errorf("%q is not a bucket: write STORE/BUCKET, or BUCKET alone for the embedded endpoint", a.Bucket))
	}
	return store, bucket, nil
}

type appBucketAdd struct{ appBucketArguments }

func (appBucketAdd) Help() string {
	return `The credentials are written there as ID/user.json and ID/client.json. A new version of each is made, because those in use are not kept in clear.

Examples:

    mintmark app bucket add sales-orders shop-mint
    mintmark app bucket add sales-orders aws/shop-mint-eu`
}

func (cmd *appBucketAdd) Run(ctx context.Context, s *Session) error {
	store, bucket, err := cmd.split()
	if err != nil {
		return err
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	d, err := c.AddDestination(ctx, cmd.Application, store, bucket)
	if err != nil {
		return err
	}
	return s.print(d, func(w io.Writer) {
		fmt.Fprintf(w, "credentials of %s go to %s\n", plain(cmd.Application), plain(d.Store+"/"+d.Bucket))
		s.say("watch it with: mintmark app status %s", cmd.Application)
	})
}

type appBucketList struct{ appID }

func (appBucketList) Help() string {
	return `Examples:

    mintmark app bucket list sales-orders`
}

func (cmd *appBucketList) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	all, err := c.Destinations(ctx, cmd.ID)
	if err != nil {
		return err
	}
	return s.print(all, func(w io.Writer) {
		var rows [][]string
		for _, d := range all.Items {
			rows = append(rows, []string{d.Store + "/" + d.Bucket, s.at(d.Added), d.AddedBy})
		}
		s.table(w, cmd.ID+" has no buckets; add one with: mintmark app bucket add "+cmd.ID+" BUCKET", []string{"BUCKET", "ADDED", "BY"}, rows)
	})
}

type appBucketRemove struct{ appBucketArguments }

func (appBucketRemove) Help() string {
	return `What lies in the bucket stays there, and stops working as the credentials rotate.

Examples:

    mintmark app bucket remove sales-orders shop-mint`
}

func (cmd *appBucketRemove) Run(ctx context.Context, s *Session) error {
	store, bucket, err := cmd.split()
	if err != nil {
		return err
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := c.RemoveDestination(ctx, cmd.Application, store, bucket); err != nil {
		return err
	}
	s.say("credentials of %s go to %s no more; what lies there stops working as they rotate", cmd.Application, store+"/"+bucket)
	return nil
}
