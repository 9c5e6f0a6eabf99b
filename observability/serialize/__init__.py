"""JSON of /debug, with the names of API.md. Times are milliseconds unless a name says otherwise."""
