"""The study RNN against LSTM: tasks with a known answer, streams through the engine, and speed."""
