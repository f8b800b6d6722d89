package cli

import (
	"context"

	"github.com/mintmark/mintmark/client"
)

// everyPage reads a list to its end, one request after another, each with its own time limit.
func everyPage[P, T any](ctx context.Context, read func(context.Context, client.Page) (*P, error), open func(*P) ([]T, string)) ([]T, error) {
	all, _, err := somePages(ctx, 0, read, open)
	return all, err
}

// longestPage is the most that the server gives at once.
const longestPage = 500

// somePages is everyPage for the first things of a list; more tells that there may be others. With a limit of 0 it reads
// all.
func somePages[P, T any](ctx context.Context, limit int, read func(context.Context, client.Page) (*P, error), open func(*P) ([]T, string)) (all []T, more bool, err error) {
	all = []T{}
	page := client.Page{}
	for {
		if limit > 0 {
			page.Limit = min(limit-len(all), longestPage)
		}
		p, err := read(ctx, page)
		if err != nil {
			return nil, false, err
		}
		items, next := open(p)
		all = append(all, items...)
		if limit > 0 && (len(all) > limit || len(all) == limit && next != "") {
			return all[:limit], true, nil
		}
		// A cursor that does not move would lead around for ever.
		if next == "" || next == page.Cursor {
			return all, false, nil
		}
		page.Cursor = next
	}
}
