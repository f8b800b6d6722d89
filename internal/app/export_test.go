package app

// LoseDatabase closes the database under a server that runs: whatever asks it from now on hears that it is not there.
func (a *App) LoseDatabase() error { return a.db.Close() }
