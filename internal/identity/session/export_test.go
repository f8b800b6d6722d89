package session

import "net/http"

// Read takes the session's cookie apart.
func (m *Manager) Read(r *http.Request) (id string, ok bool) {
	_, id, ok = m.read(r)
	return id, ok
}
