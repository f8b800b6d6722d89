package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/bench/loadgen"
)

// table holds the results of every pass, by operation and server.
type table map[[2]string][]loadgen.Result

func (t table) add(operation, server string, r loadgen.Result) {
	key := [2]string{operation, server}
	t[key] = append(t[key], r)
}

// spread is the least, the middle and the greatest of what the passes gave.
type spread struct{ min, median, max float64 }

func over(results []loadgen.Result, f func(loadgen.Result) float64) spread {
	list := make([]float64, len(results))
	for i, r := range results {
		list[i] = f(r)
	}
	return spreadOf(list)
}

func spreadOf(list []float64) spread {
	slices.Sort(list)
	n := len(list)
	return spread{list[0], (list[(n-1)/2] + list[n/2]) / 2, list[n-1]}
}

// print writes the table and answers how many ratios are above their gates. The ratio is the median of the ratios of each
// pass to the floor's pass just before, so that a slow minute of the machine counts on both sides.
func (t table) print(on map[string][]*server, o options) (exceeded int) {
	fmt.Printf("%d passes of %d requests over %d connections.\n\n", o.rounds, o.count, o.connections)
	fmt.Println("| operation | server | req/s median (min-max) | p50 / p99 ms | CPU s/1000 median (min-max) | of which database | ratio to floor | gate | target req/s, CPU s/1000 | peak MiB | errors |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|")
	for _, op := range operations {
		for _, s := range on[op.name] {
			floor := t[[2]string{op.name, "floor"}]
			if op.script != nil {
				floor = t[[2]string{op.name, "floor on " + s.engine}]
			}
			results := t[[2]string{op.name, s.name}]
			if len(results) == 0 {
				continue
			}
			ratio, gate, target := "1", "", ""
			if s.engine != "" && op.gate == 0 {
				ratio, target = "", fmt.Sprintf("%.0f, %.2f", op.rate, op.cpu)
			} else if s.engine != "" {
				ratios := make([]float64, len(results))
				for i := range results {
					ratios[i] = results[i].PerThousand / floor[i].PerThousand
				}
				r := spreadOf(ratios)
				ratio, gate = fmt.Sprintf("%.2f (%.2f-%.2f)", r.median, r.min, r.max), fmt.Sprintf("%.2f", op.gate)
				target = fmt.Sprintf("%.0f, %.2f", op.rate, op.cpu)
				if r.median > op.gate {
					exceeded++
					gate += " **above**"
				}
			}
			fmt.Println(row(op.name, s.name, results, ratio, gate, target))
		}
	}
	return exceeded
}

func row(operation, server string, results []loadgen.Result, ratio, gate, target string) string {
	rate := over(results, loadgen.Result.Rate)
	cpu := over(results, func(r loadgen.Result) float64 { return r.PerThousand })
	database := over(results, func(r loadgen.Result) float64 { return r.CPU["database"] / float64(max(r.OK, 1)) * 1000 })
	return "| " + strings.Join([]string{
		operation, server,
		fmt.Sprintf("%.0f (%.0f-%.0f)", rate.median, rate.min, rate.max),
		fmt.Sprintf("%.2f / %.1f", over(results, func(r loadgen.Result) float64 { return ms(r.P50) }).median,
			over(results, func(r loadgen.Result) float64 { return ms(r.P99) }).median),
		fmt.Sprintf("%.3f (%.3f-%.3f)", cpu.median, cpu.min, cpu.max),
		fmt.Sprintf("%.3f", database.median),
		ratio, gate, target,
		fmt.Sprintf("%.0f", over(results, func(r loadgen.Result) float64 { return r.PeakMemory["server"] }).max),
		fmt.Sprintf("%.0f", over(results, func(r loadgen.Result) float64 { return float64(r.Errors) }).max),
	}, " | ") + " |"
}

const (
	starts   = 5
	settle   = 5 * time.Second
	idleTime = 10 * time.Second
)

// printStarts stops and starts each mintmark again, on the data that is there, and looks at one that does nothing.
func printStarts(ctx context.Context, servers []*server) error {
	fmt.Println("\n| server | start to ready ms median (min-max), target 200 | idle MiB, target 60 | idle CPU % of one core, target 0.2 |")
	fmt.Println("|---|---|---|---|")
	for _, s := range servers {
		if s.engine == "" {
			continue
		}
		var took []float64
		for range starts {
			if err := s.stop(); err != nil {
				return err
			}
			d, err := s.start(ctx)
			if err != nil {
				return err
			}
			took = append(took, float64(d)/float64(time.Millisecond))
		}
		time.Sleep(settle)
		before := loadgen.CPU(s.pids["server"])
		time.Sleep(idleTime)
		_, memory := loadgen.Memory(s.pids["server"])
		t := spreadOf(took)
		fmt.Printf("| %s | %.0f (%.0f-%.0f) | %.0f | %.2f |\n", s.name, t.median, t.min, t.max, memory, (loadgen.CPU(s.pids["server"])-before)/idleTime.Seconds()*100)
	}
	return nil
}
