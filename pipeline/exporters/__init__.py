"""Where results go: one thin file per outside system."""
