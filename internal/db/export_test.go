package db

// Waiting is how many items have not been taken into a transaction yet.
func Waiting[T any](b *Batch[T]) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)
}
