"""What a backtest shows: pictures, and a page of one file that needs no network."""
