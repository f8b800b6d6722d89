package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/mintmark/mintmark/api"
)

type bucketCommands struct {
	Create bucketCreate `cmd:"" help:"Make a bucket of the embedded S3 endpoint."`
	List   bucketList   `cmd:"" help:"List the buckets of the embedded S3 endpoint."`
	Show   bucketShow   `cmd:"" help:"Show one bucket."`
}

type bucketCreate struct {
	Name string `arg:"" help:"3 to 63 lower-case letters, digits, dots and hyphens."`
	Team string `required:"" help:"The team that owns it: only its applications get access keys for it."`
}

func (bucketCreate) Help() string {
	return `Buckets elsewhere (Amazon S3 or anything that speaks its protocol) are made there; a store for them stands in the configuration of the server.

Examples:

    mintmark bucket create shop-mint --team shop`
}

func (cmd *bucketCreate) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	b, err := c.PutBucket(ctx, cmd.Name, api.PutBucket{TeamID: cmd.Team})
	if err != nil {
		return err
	}
	return s.print(b, func(w io.Writer) { fmt.Fprintf(w, "bucket %s of team %s\n", plain(b.Name), plain(b.TeamID)) })
}

type bucketList struct{}

func (bucketList) Help() string {
	return `Examples:

    mintmark bucket list`
}

func (bucketList) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	all, err := everyPage(ctx, c.Buckets, func(p *api.Buckets) ([]api.Bucket, string) { return p.Items, p.NextCursor })
	if err != nil {
		return err
	}
	return s.print(api.Buckets{Items: all}, func(w io.Writer) {
		var rows [][]string
		for _, b := range all {
			rows = append(rows, []string{b.Name, b.TeamID, s.at(b.Created), b.CreatedBy})
		}
		s.table(w, "there are no buckets yet; make one with: mintmark bucket create NAME --team TEAM", []string{"NAME", "TEAM", "CREATED", "BY"}, rows)
	})
}

type bucketShow struct {
	Name string `arg:"" help:"Name of the bucket."`
}

func (bucketShow) Help() string {
	return `Examples:

    mintmark bucket show shop-mint`
}

func (cmd *bucketShow) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	b, err := c.Bucket(ctx, cmd.Name)
	if err != nil {
		return err
	}
	return s.print(b, func(w io.Writer) {
		fields(w, "name", b.Name, "team", b.TeamID, "created", s.at(b.Created)+" by "+b.CreatedBy)
	})
}
