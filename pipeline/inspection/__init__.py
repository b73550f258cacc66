"""A look at somebody's data before any of it is learnt from: what it is, and how a worker should read it."""
