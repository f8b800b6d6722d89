package db

// Subscribe runs f whenever what the topic holds under some keys may have changed; keys is nil when everything may have.
// Subscribe before StartFeed. f is called from several goroutines at once and must be quick.
func (d *DB) Subscribe(topic string, f func(keys []string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.subscribers[topic] = append(d.subscribers[topic], f)
}

// deliver tells this node's subscribers at once.
func (d *DB) deliver(changes []change) {
	byTopic := map[string][]string{}
	for _, c := range changes {
		byTopic[c.topic] = append(byTopic[c.topic], c.item)
	}
	for topic, keys := range byTopic {
		d.mu.Lock()
		subscribers := d.subscribers[topic]
		d.mu.Unlock()
		for _, f := range subscribers {
			f(keys)
		}
	}
}
