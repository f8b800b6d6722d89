// Command bench measures what mintmark costs, beside the floor: the cheapest server that does the same work (bench/floor).
//
// It builds both, starts the floor and one mintmark on each database on ports of this machine, lets an application get
// its credentials through the whole of the mint, and then runs each operation in turn against all of them, pass after
// pass, so that whatever else the machine does hits all alike. It prints one Markdown table: rates, latency, processor
// time per 1000 requests of server and database together, and the ratio to the floor, which is the figure to trust.
//
//	go run ./bench [-rounds 5] [-count 5000] [-engines sqlite,postgres] [-only text] [-gate] [-expired 1000000] [-people 1000000]
//
// PostgreSQL is the one that MINTMARK_TEST_POSTGRES names; bench/run.sh starts one. With -gate the program fails if a
// ratio is above its gate.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/mintmark/mintmark/bench/loadgen"
)

type options struct {
	rounds, count, connections int
	engines, only              string
	gate                       bool
	expired, people            int
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "passes over all operations")
	flag.IntVar(&o.count, "count", 5000, "requests of an operation in each pass")
	flag.IntVar(&o.connections, "connections", 16, "connections, each with one request under way")
	flag.StringVar(&o.engines, "engines", "sqlite,postgres", "databases to run mintmark on")
	flag.StringVar(&o.only, "only", "", "run only operations whose name holds this text")
	flag.BoolVar(&o.gate, "gate", false, "fail if a ratio to the floor is above its gate")
	flag.IntVar(&o.expired, "expired", 0, "also have so many rows expire at once, and look at those who refresh meanwhile")
	flag.IntVar(&o.people, "people", 0, "also put so many people into the database, and search them")
	flag.Parse()
	o.connections = min(o.connections, chains)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "mintmark-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, program := range []string{"./cmd/mintmark", "./bench/floor"} {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(dir, filepath.Base(program)), program)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", program, err, out)
		}
	}
	engines := strings.Split(o.engines, ",")
	if os.Getenv("MINTMARK_TEST_POSTGRES") == "" && strings.Contains(o.engines, "postgres") {
		fmt.Fprintln(os.Stderr, "PostgreSQL is left out: MINTMARK_TEST_POSTGRES is not set. bench/run.sh starts one.")
		engines = []string{"sqlite"}
	}
	servers := []*server{{name: "floor", dir: dir, engines: engines}}
	for _, e := range engines {
		servers = append(servers, &server{name: e, dir: dir, engine: e})
	}
	defer func() {
		for _, s := range servers {
			err = errors.Join(err, s.remove())
		}
	}()
	for _, s := range servers {
		if err := s.prepare(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return measure(ctx, o, servers)
}

// against are the servers that the operation is run on: in front of each mintmark the floor of its database, where it
// must write.
func (op operation) against(servers []*server) []*server {
	if op.script == nil {
		return servers
	}
	var list []*server
	for _, s := range servers[1:] {
		if op.gate > 0 {
			list = append(list, servers[0].durable(s.engine))
		}
		list = append(list, s)
	}
	return list
}

func measure(ctx context.Context, o options, servers []*server) error {
	results := table{}
	on := map[string][]*server{}
	for _, op := range operations {
		on[op.name] = op.against(servers)
	}
	for round := range o.rounds {
		for _, op := range operations {
			if !strings.Contains(op.name, o.only) {
				continue
			}
			for _, s := range on[op.name] {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				r, err := op.pass(s, o)
				if err != nil {
					return fmt.Errorf("%s on %s: %w", op.name, s.name, err)
				}
				results.add(op.name, s.name, r)
				fmt.Fprintf(os.Stderr, "%d/%d %-28s %-8s %7.0f/s  %.3f s/1000  other %2.0f%%  errors %d %s\n",
					round+1, o.rounds, op.name, s.name, r.Rate(), r.PerThousand, r.OtherShare*100, r.Errors, r.FirstError)
			}
		}
	}
	exceeded := results.print(on, o)
	if strings.Contains("login flood", o.only) {
		n, err := printFlood(o, servers)
		if exceeded += n; err != nil {
			return err
		}
	}
	if strings.Contains("pages", o.only) {
		n, err := printPages(ctx, servers)
		if exceeded += n; err != nil {
			return err
		}
	}
	if strings.Contains("timings of refusals", o.only) {
		n, err := printTimings(ctx, servers)
		if exceeded += n; err != nil {
			return err
		}
	}
	if strings.Contains("start-up and idle", o.only) {
		if err := printStarts(ctx, servers); err != nil {
			return err
		}
	}
	if o.expired > 0 {
		if err := printExpired(ctx, o, servers); err != nil {
			return err
		}
	}
	if o.people > 0 {
		n, err := printSearches(ctx, o, servers)
		if exceeded += n; err != nil {
			return err
		}
	}
	if o.gate && exceeded > 0 {
		return fmt.Errorf("%d figures are above their gates", exceeded)
	}
	return nil
}

// pass runs the operation once against one server.
func (op operation) pass(s *server, o options) (loadgen.Result, error) {
	if op.slow > 0 {
		o.count, o.connections = max(1, o.count/op.slow), min(o.connections, visitors)
	}
	load := loadgen.Load{Connections: o.connections, Count: o.count, Limit: 30 * time.Second, Servers: s.pids, Expect: op.expect}
	if op.prepare != nil {
		if err := op.prepare(s); err != nil {
			return loadgen.Result{}, err
		}
	}
	switch {
	case op.script != nil:
		load.Script, load.Server = op.script(s), s.base
	case op.token == nil:
		load.Requests = []loadgen.Request{op.request(s)}
	case op.seen:
		tokens, err := s.tokens(200, o.connections)
		if err != nil {
			return loadgen.Result{}, err
		}
		load.Requests = op.about(s, tokens)
		warm := load
		warm.Count = len(tokens)
		if _, err := loadgen.Run(warm); err != nil {
			return loadgen.Result{}, err
		}
	default:
		tokens, err := s.tokens(o.count, o.connections)
		if err != nil {
			return loadgen.Result{}, err
		}
		load.Requests = op.about(s, tokens)
	}
	return loadgen.Run(load)
}
