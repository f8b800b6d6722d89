package transfer

// Tables is what the list says of each table: the column that names the person, and why its rows stay.
func Tables() map[string][2]string {
	out := map[string][2]string{}
	for _, h := range tables {
		out[h.table] = [2]string{h.by(), h.kept}
	}
	return out
}

// Shown are the columns of each table that the person is given.
func Shown() map[string]string {
	out := map[string]string{}
	for _, h := range tables {
		out[h.table] = h.shown
	}
	return out
}

// Hidden are the columns of each table that the person is not given.
func Hidden() map[string]string {
	out := map[string]string{}
	for _, h := range tables {
		out[h.table] = h.hidden
	}
	return out
}
