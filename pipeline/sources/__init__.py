"""Where readings come from: one thin file per outside system."""
