package password

// Queue is how many may wait for a place.
func (p *Pool) Queue() int64 { return p.queue }
