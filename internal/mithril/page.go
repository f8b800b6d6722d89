package mithril

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/id"
)

// paging says where in a list the answer lies.
type paging struct {
	Limit   int     `json:"limit"`
	Cursors cursors `json:"cursors"`
	HasMore bool    `json:"has_more"`
	Size    *int    `json:"size"` // always null: counting costs more than reading
}

type cursors struct {
	StartingAfter *string `json:"starting_after"` // the last one here
	EndingBefore  *string `json:"ending_before"`  // the first one here
}

const (
	defaultLimit = 50
	maxLimit     = 100
)

// listing is a query that is read page by page, in the order of ids, which is that in which things were made. Conditions
// are constant texts with ? for their value.
type listing struct {
	c       *call
	columns string // the first one is the id
	from    string // tables and joins
	key     string // the column of ids
	prefix  string
	where   []string
	args    []any
}

func (l *listing) and(condition string, values ...any) {
	for _, v := range values {
		l.args = append(l.args, v)
		condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(l.args)), 1)
	}
	l.where = append(l.where, condition)
}

// in wants the column to be one of the values.
func (l *listing) in(column string, values []string) {
	marks := make([]any, len(values))
	for i, v := range values {
		marks[i] = v
	}
	l.and(column+` IN (`+strings.TrimSuffix(strings.Repeat("?, ", len(values)), ", ")+`)`, marks...)
}

// byID wants the column to be one of ids.
func (l *listing) byID(column, parameter, prefix string) error {
	values, err := l.c.ids(parameter, prefix)
	if len(values) > 0 {
		l.in(column, values)
	}
	return err
}

// ids are the id that the query parameter holds and those in the parameter's plural, with commas between; nil if there is
// neither. A malformed one is refused.
func (c *call) ids(parameter, prefix string) (values []string, err error) {
	q := c.r.URL.Query()
	for _, name := range []string{parameter, parameter + "s"} {
		if q.Get(name) == "" {
			continue
		}
		for text := range strings.SplitSeq(q.Get(name), ",") {
			found, ok := inner(prefix, strings.TrimSpace(text))
			if !ok {
				return nil, invalid(entry(name, "cast", "is invalid", "uuid"))
			}
			values = append(values, found)
		}
	}
	if len(values) > maxLimit {
		return nil, invalid(entry(parameter+"s", "length", "has too many values"))
	}
	return values, nil
}

// limit is how many the caller wants.
func (c *call) limit() (int, error) {
	text := c.r.URL.Query().Get("limit")
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		return 0, invalid(entry("limit", "inclusion", "must be between 1 and 100", "1", "100"))
	}
	return n, nil
}

// read reads the page that the request asks for. scan reads one row into a new thing.
func read[T any](tx db.ReadTx, l *listing, scan func(row db.Row) (T, string, error)) (*result, error) {
	limit, err := l.c.limit()
	if err != nil {
		return nil, err
	}
	q := l.c.r.URL.Query()
	cursor, order, compare := q.Get("starting_after"), "", " > "
	if cursor == "" {
		if cursor = q.Get("ending_before"); cursor != "" {
			order, compare = " DESC", " < "
		}
	}
	page := &paging{Limit: limit}
	if cursor != "" {
		from, known := inner(l.prefix, cursor)
		if known {
			if known, err = l.has(tx, from); err != nil {
				return nil, err
			}
		}
		if !known {
			return &result{data: []T{}, paging: page}, nil
		}
		l.and(l.key+compare+"?", from)
	}
	l.args = append(l.args, limit+1)
	rows, err := tx.Query(l.c, l.query()+` ORDER BY `+l.key+order+` LIMIT $`+strconv.Itoa(len(l.args)), l.args...)
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	defer rows.Close()
	list, ids := []T{}, []string{}
	for rows.Next() {
		thing, name, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
		list, ids = append(list, thing), append(ids, id.UUID(name))
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	if page.HasMore = len(list) > limit; page.HasMore {
		list, ids = list[:limit], ids[:limit]
	}
	if order != "" {
		slices.Reverse(list)
		slices.Reverse(ids)
	}
	if len(ids) > 0 {
		page.Cursors = cursors{&ids[len(ids)-1], &ids[0]}
	}
	return &result{data: list, paging: page}, nil
}

func (l *listing) query() string {
	query := `SELECT ` + l.columns + ` FROM ` + l.from
	if len(l.where) > 0 {
		query += ` WHERE ` + strings.Join(l.where, " AND ")
	}
	return query
}

// has tells whether the list, with its filters, holds this one.
func (l *listing) has(tx db.ReadTx, thing string) (bool, error) {
	probe := *l
	probe.where, probe.args, probe.columns = slices.Clone(l.where), slices.Clone(l.args), `count(*)`
	probe.and(l.key+` = ?`, thing)
	var n int
	if err := tx.QueryRow(l.c, probe.query(), probe.args...).Scan(&n); err != nil {
		return false, fmt.Errorf("look for a cursor: %w", err)
	}
	return n > 0, nil
}
