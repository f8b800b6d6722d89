package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/api"
)

type directoryCommands struct {
	List directoryList `cmd:"" help:"List the directories that realms take their people from."`
	Test directoryTest `cmd:"" help:"Ask a directory whether it answers, and what it says of a name."`
	Sync directorySync `cmd:"" help:"Compare the people of a realm with their directory."`
}

type directoryList struct{}

func (directoryList) Help() string {
	return `A directory is set by "directory" of a realm in the server's configuration; docs/operations.md tells how.

Examples:

    mintmark directory list`
}

func (directoryList) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	all, err := c.Directories(ctx)
	if err != nil {
		return err
	}
	return s.print(all, func(w io.Writer) {
		var rows [][]string
		for _, d := range all.Items {
			last := "never"
			if d.LastSync != nil {
				last = s.at(d.LastSync.Finished) + ", " + d.LastSync.Outcome
			}
			rows = append(rows, []string{d.Realm, strconv.Itoa(d.Servers-d.ServersDown) + " of " + strconv.Itoa(d.Servers), (time.Duration(d.EverySeconds) * time.Second).String(), last})
		}
		s.table(w, "no realm takes its people from a directory", []string{"REALM", "SERVERS UP", "EVERY", "LAST COMPARED"}, rows)
	})
}

type directoryTest struct {
	Realm string `arg:"" help:"Such as employees."`
	User  string `placeholder:"NAME" help:"Also find this name, as a login would. No password is needed."`
}

func (directoryTest) Help() string {
	return `Exit code 1 says that the directory does not answer as it should, or that the name leads to nobody.

Examples:

    mintmark directory test employees
    mintmark directory test employees --user jane -o json`
}

func (cmd *directoryTest) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	t, err := c.TestDirectory(ctx, cmd.Realm, api.TestDirectory{Username: cmd.User})
	if err != nil {
		return err
	}
	if err := s.print(t, func(w io.Writer) {
		fmt.Fprintln(w, plain(t.Text))
		if e := t.Entry; e != nil {
			fields(w, "dn", e.DN, "key", e.Key, "username", e.Username, "display name", e.DisplayName, "email", e.Email, "phone", e.Phone)
		}
	}); err != nil {
		return err
	}
	if !t.OK {
		return errors.New("the directory of " + plain(cmd.Realm) + " does not do")
	}
	return nil
}

type directorySync struct {
	Realm         string        `arg:"" help:"Such as employees."`
	DryRun        bool          `help:"Tell what would be done, and do nothing."`
	DisableAtMost int           `placeholder:"N" help:"So many people may be disabled by this, whatever the settings allow."`
	Wait          time.Duration `default:"5m" help:"How long to wait for the end."`
}

func (directorySync) Help() string {
	return `Whoever the directory does not have any more, or has disabled, is disabled here: sessions and what clients were let do end. Whoever returns is enabled again. When the directory fails, shows nothing, or too many would be disabled, nobody is; look at what a dry run says, then allow it with --disable-at-most.

Examples:

    mintmark directory sync employees --dry-run
    mintmark directory sync employees --disable-at-most 120`
}

func (cmd *directorySync) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	before, err := lastSync(ctx, c.Directories, cmd.Realm)
	if err != nil {
		return err
	}
	started, err := c.SyncDirectory(ctx, cmd.Realm, api.SyncDirectory{DryRun: cmd.DryRun, DisableAtMost: cmd.DisableAtMost})
	if err != nil {
		return err
	}
	report := started.Report
	for end := s.clock.Now().Add(cmd.Wait); report == nil; {
		now, err := lastSync(ctx, c.Directories, cmd.Realm)
		if err != nil {
			return err
		}
		if now != nil && (before == nil || now.Finished.After(before.Finished)) {
			report = now
			break
		}
		if !s.clock.Now().Before(end) {
			return &explained{code: ExitTemporary, err: errors.New("the comparison has not ended yet"), hint: "See: mintmark directory list"}
		}
		if err := s.pause(ctx, time.Second); err != nil {
			return err
		}
	}
	if err := s.print(report, func(w io.Writer) { cmd.show(w, report) }); err != nil {
		return err
	}
	if report.Outcome != "done" && !cmd.DryRun {
		return errors.New("nobody was disabled: " + plain(report.Why))
	}
	return nil
}

func (cmd *directorySync) show(w io.Writer, r *api.DirectoryReport) {
	would := ""
	if cmd.DryRun {
		would = "would be "
	}
	fields(w, "outcome", r.Outcome, "entries", strconv.Itoa(r.Entries), "people", strconv.Itoa(r.People), would+"refreshed", strconv.Itoa(r.Refreshed),
		would+"enabled", strconv.Itoa(r.Enabled), would+"disabled", strconv.Itoa(r.Disabled), "gone", strconv.Itoa(r.Gone), "who", strings.Join(r.Names, ", "), "why", r.Why)
}

// lastSync is how the last comparison of the realm ended; nil if there was none, or no such directory.
func lastSync(ctx context.Context, list func(context.Context) (*api.Directories, error), realm string) (*api.DirectoryReport, error) {
	all, err := list(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range all.Items {
		if d.Realm == strings.Trim(realm, "/") {
			return d.LastSync, nil
		}
	}
	return nil, nil
}
