"""What is seen while a command runs, on a terminal or in a pipe. It decides nothing."""
