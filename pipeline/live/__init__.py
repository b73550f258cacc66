"""What the page shows: copies taken on the runner's thread, answers made on those of the server."""
