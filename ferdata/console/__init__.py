"""The command line: its options, what it prints, and the data it has where there is none."""
