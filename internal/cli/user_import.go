package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
	"github.com/mintmark/mintmark/internal/roster"
)

// The bounds of an import: what is held of the file at once, and how often it is told how far it is.
const (
	importRows  = 100
	importBytes = 512 << 10 // of the lines of a batch; the server takes 1 MiB
	importTell  = 5000      // lines
)

type userImport struct {
	Realm    string `arg:"" help:"Such as customers."`
	File     string `arg:"" help:"JSON lines, or CSV with a header, one person each; - reads standard input."`
	Format   string `enum:"auto,json,csv" default:"auto" help:"What the file is: json, csv, or auto, by which it is CSV if its name ends in .csv."`
	Existing string `enum:"skip,update" default:"skip" help:"What to do with people who are there already: skip or update. Their passwords stay in either case."`
	DryRun   bool   `help:"Tell what would be, and change nothing."`
	FromLine int    `default:"1" placeholder:"N" help:"Leave out the lines before this one."`
}

func (userImport) Help() string {
	return `One JSON object a line; all members but username may be absent:

    {"external_id":"4711","username":"jane","display_name":"Jane Doe","email":"jane@example.org","email_verified":true,
     "phone":"+41 31 555 01 01","address":"...","password_hash":"$2b$12$...","groups":["engineering"],"attributes":{"department":"sales"}}

CSV has a header with the same names, in any order, and commas, semicolons or tabs between the fields (RFC 4180). Groups have semicolons between them, attribute.NAME is an attribute, of which a list has semicolons, too. What is empty says nothing:

    username,display_name,email,email_verified,groups,attribute.department,attribute.skills
    jane,Jane Doe,jane@example.org,true,engineering;on-call,sales,Go;SQL
    joe,"Roe, Joe",,,,,

A hash is Argon2id, bcrypt, PBKDF2 or scrypt as a PHC string; it is replaced at the first login. Groups must be there, and attributes be declared for the realm.

Each line that is refused is printed as one JSON line with its number, field, code and reason, never with what it holds; how far it is goes to standard error. Lines are stored a hundred at a time. Stopped anywhere, run it again: who is there already is found by external_id or name, and skipped.

Examples:

    mintmark user import customers people.jsonl --dry-run > refused.jsonl
    mintmark user import customers people.csv > refused.jsonl
    mintmark user import customers people.jsonl --existing update --from-line 120001`
}

// refusedLine is one line of the report.
type refusedLine struct {
	Line   int    `json:"line"`
	Field  string `json:"field,omitempty"`
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

// importRun is an import under way.
type importRun struct {
	cmd    *userImport
	s      *Session
	c      *client.Client
	report *json.Encoder

	line                               int // the last that was read
	rows                               []api.ImportUser
	lines                              []int // their numbers
	size                               int
	created, updated, skipped, refused int
	told                               int // the line at which it was last told how far it is
}

func (cmd *userImport) Run(ctx context.Context, s *Session, in io.Reader) (err error) {
	if cmd.FromLine < 1 {
		return usage(errors.New("--from-line counts from 1"))
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	if cmd.File != "-" {
		f, err := os.Open(cmd.File)
		if err != nil {
			return fmt.Errorf("read the people: %w", err)
		}
		defer f.Close() // nothing is written
		in = f
	}
	r := &importRun{cmd: cmd, s: s, c: c, report: json.NewEncoder(s.out)}
	people, err := cmd.people(in)
	if err != nil {
		return err
	}
	if err := r.all(ctx, people); err != nil {
		s.say("stopped before line %d is certain: run it again, or from there with --from-line %d", r.open(), r.open())
		return err
	}
	word := ""
	if cmd.DryRun {
		word = "would be "
	}
	s.say("%d lines: %s%d created, %d updated, %d skipped, %d refused", r.line, word, r.created, r.updated, r.skipped, r.refused)
	if r.refused > 0 {
		return &explained{code: ExitFailure, err: fmt.Errorf("%d lines were refused", r.refused), hint: "Mend those lines and run the import again: the others are skipped."}
	}
	return nil
}

// people reads the file in its format.
func (cmd *userImport) people(in io.Reader) (*roster.Reader, error) {
	if cmd.Format == "json" || cmd.Format == "auto" && !strings.EqualFold(filepath.Ext(cmd.File), ".csv") {
		return roster.JSON(in), nil
	}
	people, err := roster.CSV(in)
	if err != nil {
		return nil, fmt.Errorf("read the header of %s: %w", cmd.File, err)
	}
	return people, nil
}

// open is the first line of which it is not certain what became of it.
func (r *importRun) open() int {
	if len(r.lines) > 0 {
		return r.lines[0]
	}
	return r.line + 1
}

func (r *importRun) all(ctx context.Context, people *roster.Reader) error {
	for {
		e, err := people.Next()
		var wrong *roster.Wrong
		r.line = people.Line()
		switch {
		case errors.Is(err, io.EOF):
			return r.send(ctx)
		case errors.As(err, &wrong):
			if wrong.Line < r.cmd.FromLine {
				continue
			}
			if err := r.refuse(refusedLine{Line: wrong.Line, Field: wrong.Field, Code: wrong.Code, Reason: wrong.Reason}); err != nil {
				return err
			}
		case err != nil:
			return fmt.Errorf("read the people: %w", err)
		case e.Line >= r.cmd.FromLine:
			if err := r.take(ctx, e); err != nil {
				return err
			}
		}
	}
}

// take puts a person into the batch, which goes first if it is full.
func (r *importRun) take(ctx context.Context, e roster.Entry) error {
	if len(r.rows) == importRows || r.size+e.Size > importBytes {
		if err := r.send(ctx); err != nil {
			return err
		}
	}
	r.rows, r.lines, r.size = append(r.rows, e.Person), append(r.lines, e.Line), r.size+e.Size
	return nil
}

func (r *importRun) refuse(l refusedLine) error {
	r.refused++
	if err := r.report.Encode(l); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// send stores what was read, and forgets it.
func (r *importRun) send(ctx context.Context) error {
	if len(r.rows) == 0 {
		return nil
	}
	done, err := r.c.ImportUsers(ctx, api.ImportUsers{Realm: r.cmd.Realm, Existing: r.cmd.Existing, DryRun: r.cmd.DryRun, Rows: r.rows})
	if err != nil {
		return err
	}
	r.created, r.updated, r.skipped = r.created+done.Created, r.updated+done.Updated, r.skipped+done.Skipped
	for _, no := range done.Refused {
		if no.Row < 0 || no.Row >= len(r.lines) {
			return errors.New("the server refused a row that was not sent")
		}
		if err := r.refuse(refusedLine{Line: r.lines[no.Row], Field: strings.TrimPrefix(no.Field, "body."), Code: no.Code, Reason: no.Reason}); err != nil {
			return err
		}
	}
	last := r.lines[len(r.lines)-1]
	r.rows, r.lines, r.size = r.rows[:0], r.lines[:0], 0
	if last-r.told >= importTell {
		r.told = last
		r.s.say("line %d: %d created, %d updated, %d skipped, %d refused", last, r.created, r.updated, r.skipped, r.refused)
	}
	return nil
}
