package s3api

import (
	"container/heap"
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// listing is what a list asks for.
type listing struct {
	prefix, delimiter string
	startAfter        string // only keys behind this one
	token             string // only lines behind this one: where an earlier page ended
	limit             int
}

// listed is one line of a list: an object, or a common prefix of several.
type listed struct {
	name   string // key, or common prefix
	prefix bool
	object *object
}

// smallest keeps the first names of a walk, in a heap whose top is the last of them, so that a list needs no more
// memory than it answers with.
type smallest struct {
	names []string // a heap, greatest first
	seen  map[string]bool
	limit int
}

func (s *smallest) Len() int           { return len(s.names) }
func (s *smallest) Less(i, j int) bool { return s.names[i] > s.names[j] }
func (s *smallest) Swap(i, j int)      { s.names[i], s.names[j] = s.names[j], s.names[i] }
func (s *smallest) Push(x any)         { s.names = append(s.names, x.(string)) }
func (s *smallest) Pop() any {
	last := s.names[len(s.names)-1]
	s.names = s.names[:len(s.names)-1]
	return last
}

// wants tells whether the name would be kept.
func (s *smallest) wants(name string) bool { return len(s.names) < s.limit || name < s.names[0] }

func (s *smallest) add(name string) {
	if s.seen[name] || !s.wants(name) {
		return
	}
	s.seen[name] = true
	heap.Push(s, name)
	if len(s.names) > s.limit {
		delete(s.seen, heap.Pop(s).(string))
	}
}

// list answers the first lines that l asks for, in byte order, and the name where the next page begins; "" if there are
// no more. A page may have fewer lines than that: what cannot be shown is passed over.
func (d *disk) list(ctx context.Context, bucket string, l listing) (lines []listed, next string, err error) {
	found := &smallest{seen: map[string]bool{}, limit: l.limit + 1}
	start := path.Join(bucket, l.start())
	if err := d.plainDirs(start); err != nil && !isAbsent(err) {
		return nil, "", err
	}
	err = fs.WalkDir(d.root.FS(), start, func(name string, e fs.DirEntry, err error) error {
		if isAbsent(err) {
			return nil // removed while we looked, or no object was ever put
		}
		if err != nil {
			return err
		}
		return l.visit(ctx, found, bucket, name, e)
	})
	if err != nil {
		return nil, "", err
	}
	names := found.names
	slices.Sort(names)
	if len(names) > l.limit {
		names = names[:l.limit]
		if l.limit > 0 {
			next = names[l.limit-1]
		}
	}
	for _, name := range names {
		if l.rolledUp(name) {
			lines = append(lines, listed{name: name, prefix: true})
			continue
		}
		o, err := d.stat(bucket, name)
		if isAbsent(err) || errors.Is(err, errDamaged) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		lines = append(lines, listed{name: name, object: o})
	}
	return lines, next, nil
}

// start is the directory below the bucket that holds all of the prefix.
func (l listing) start() string {
	whole := l.prefix[:strings.LastIndexByte(l.prefix, '/')+1]
	if whole == "" {
		return ""
	}
	return strings.TrimSuffix(fileName(whole), "/"+string(markFile))
}

func (l listing) visit(ctx context.Context, found *smallest, bucket, name string, e fs.DirEntry) error {
	below, inside := strings.CutPrefix(name, bucket+"/")
	if !inside {
		return nil // the bucket's own directory
	}
	key, isFile, ok := keyOf(below)
	switch {
	case !ok, isFile != e.Type().IsRegular(), !isFile && !e.IsDir():
		if e.IsDir() {
			return fs.SkipDir // such as the directory of unfinished files
		}
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !isFile:
		if l.passes(found, key) {
			return nil
		}
		return fs.SkipDir
	}
	if line := l.line(key); strings.HasPrefix(key, l.prefix) && key > l.startAfter && line > l.token {
		found.add(line)
	}
	return nil
}

// passes tells whether a directory, whose keys all begin so, can hold a name that the list wants.
func (l listing) passes(found *smallest, begin string) bool {
	n := min(len(begin), len(l.prefix))
	if begin[:n] != l.prefix[:n] {
		return false
	}
	for _, after := range []string{l.startAfter, l.token} {
		if n = min(len(begin), len(after)); begin[:n] < after[:n] {
			return false
		}
	}
	line := l.line(begin)
	return !found.seen[line] && found.wants(line)
}

// line is what the list shows of a key: the key, or what comes up to the delimiter.
func (l listing) line(key string) string {
	if l.delimiter == "" || !strings.HasPrefix(key, l.prefix) {
		return key
	}
	rest := key[len(l.prefix):]
	if i := strings.Index(rest, l.delimiter); i >= 0 {
		return key[:len(l.prefix)+i+len(l.delimiter)]
	}
	return key
}

func (l listing) rolledUp(line string) bool {
	return l.delimiter != "" && len(line) > len(l.prefix) && strings.HasSuffix(line, l.delimiter) && strings.Contains(line[len(l.prefix):], l.delimiter)
}
