"""Everything that needs a GPU, in one command of under eight minutes: ``make gpu``."""
