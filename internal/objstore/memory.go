package objstore

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Fault is what a Memory store does wrong on one call.
type Fault int

// The faults.
const (
	None        Fault = iota
	Lost              // nothing is done, and the call fails with ErrUnavailable
	Unreported        // it is done, and the call fails with ErrUnavailable all the same
	Forgotten         // nothing is done, and the call says that it was
	Hang              // nothing is done until the context ends
	Forbidden         // ErrForbidden
	BucketGone        // ErrNoBucket
	Unavailable       // ErrUnavailable, at once
)

// Call is one call of a Memory store.
type Call struct {
	Op, Bucket, Key string
	N               int // how many calls came before it
}

// Version is one state of an object that a Memory store has held.
type Version struct {
	Object
	Deleted bool
}

// Memory is a Store for tests. It keeps every version that was ever written and does wrong what it is told to.
type Memory struct {
	mu       sync.Mutex
	buckets  map[string]map[string][]Version // bucket → key → versions, oldest first; owned by mu
	calls    []Call                          // owned by mu
	fault    func(Call) Fault                // owned by mu
	instants int64                           // owned by mu; Modified counts up from the epoch, one second a write
}

// NewMemory makes a store that holds these buckets, empty.
func NewMemory(buckets ...string) *Memory {
	m := &Memory{buckets: map[string]map[string][]Version{}}
	for _, b := range buckets {
		m.buckets[b] = map[string][]Version{}
	}
	return m
}

// Break makes f decide, call by call, what goes wrong; nil: nothing. f runs under a lock: it must not call the store.
func (m *Memory) Break(f func(Call) Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

// AddBucket makes a bucket, if it is not there.
func (m *Memory) AddBucket(bucket string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.buckets[bucket] == nil {
		m.buckets[bucket] = map[string][]Version{}
	}
}

// Versions is all that was ever written under the key, oldest first.
func (m *Memory) Versions(bucket, key string) []Version {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.buckets[bucket][key])
}

// Calls is every call so far, also those that failed.
func (m *Memory) Calls() []Call {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

// begin notes the call and does what the fault asks before the work; on an error the call is over.
func (m *Memory) begin(ctx context.Context, op, bucket, key string) (f Fault, err error) {
	m.mu.Lock()
	call := Call{Op: op, Bucket: bucket, Key: key, N: len(m.calls)}
	m.calls = append(m.calls, call)
	if m.fault != nil {
		f = m.fault(call)
	}
	known := m.buckets[bucket] != nil
	m.mu.Unlock()
	switch {
	case f == Lost || f == Unavailable:
		return f, failure(op, bucket, key, ErrUnavailable, nil)
	case f == Hang:
		<-ctx.Done()
		return f, failure(op, bucket, key, ErrUnavailable, ctx.Err())
	case f == Forbidden:
		return f, failure(op, bucket, key, ErrForbidden, nil)
	case f == BucketGone || !known:
		return f, failure(op, bucket, key, ErrNoBucket, nil)
	}
	return f, nil
}

func end(f Fault, op, bucket, key string) error {
	if f == Unreported {
		return failure(op, bucket, key, ErrUnavailable, errors.New("done, but reported as failed"))
	}
	return nil
}

// add appends a version. The caller holds m.mu.
func (m *Memory) add(bucket, key string, v Version) {
	m.instants++
	v.Modified = time.Unix(m.instants, 0).UTC()
	m.buckets[bucket][key] = append(m.buckets[bucket][key], v)
}

// latest is the object as it is now. The caller holds m.mu.
func (m *Memory) latest(bucket, key string) (Object, bool) {
	all := m.buckets[bucket][key]
	if len(all) == 0 || all[len(all)-1].Deleted {
		return Object{}, false
	}
	return all[len(all)-1].Object, true
}

// Put writes the object.
func (m *Memory) Put(ctx context.Context, bucket, key string, body []byte, o PutOptions) (string, error) {
	if err := check(ctx, "put", bucket, key, o, len(body)); err != nil {
		return "", err
	}
	f, err := m.begin(ctx, "put", bucket, key)
	if err != nil {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old, exists := m.latest(bucket, key)
	if o.IfNoneMatch != "" && exists || o.IfMatch != "" && (!exists || old.ETag != o.IfMatch) {
		return "", failure("put", bucket, key, ErrPrecondition, nil)
	}
	if f != Forgotten {
		m.add(bucket, key, Version{Object: Object{Body: slices.Clone(body), ETag: tagOf(body), ContentType: cmpOr(o.ContentType, "application/json")}})
	}
	if err := end(f, "put", bucket, key); err != nil {
		return "", err
	}
	return tagOf(body), nil
}

// Get reads the object.
func (m *Memory) Get(ctx context.Context, bucket, key, ifNoneMatch string) (Object, error) {
	if err := check(ctx, "get", bucket, key, PutOptions{}, 0); err != nil {
		return Object{}, err
	}
	f, err := m.begin(ctx, "get", bucket, key)
	if err != nil {
		return Object{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.latest(bucket, key)
	switch {
	case !ok || f == Forgotten:
		return Object{}, failure("get", bucket, key, ErrNotFound, nil)
	case ifNoneMatch == o.ETag:
		return Object{}, failure("get", bucket, key, ErrNotModified, nil)
	}
	o.Body = slices.Clone(o.Body)
	return o, end(f, "get", bucket, key)
}

// Delete removes the object; its versions stay for Versions.
func (m *Memory) Delete(ctx context.Context, bucket, key string) error {
	if err := check(ctx, "delete", bucket, key, PutOptions{}, 0); err != nil {
		return err
	}
	f, err := m.begin(ctx, "delete", bucket, key)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.latest(bucket, key); ok && f != Forgotten {
		m.add(bucket, key, Version{Deleted: true})
	}
	return end(f, "delete", bucket, key)
}

// List names objects.
func (m *Memory) List(ctx context.Context, bucket, prefix string, o ListOptions) (Page, error) {
	if err := check(ctx, "list", bucket, prefix, PutOptions{}, 0); err != nil {
		return Page{}, err
	}
	f, err := m.begin(ctx, "list", bucket, prefix)
	if err != nil {
		return Page{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var p Page
	for _, key := range slices.Sorted(maps.Keys(m.buckets[bucket])) {
		v, ok := m.latest(bucket, key)
		if !ok || !strings.HasPrefix(key, prefix) || key <= o.After {
			continue
		}
		if len(p.Entries) == o.limit() {
			p.More = true
			break
		}
		p.Entries = append(p.Entries, Entry{Key: key, Size: int64(len(v.Body)), ETag: v.ETag, Modified: v.Modified})
	}
	return p, end(f, "list", bucket, prefix)
}
