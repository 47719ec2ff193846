"""The networks, and starting from another run's weights."""
