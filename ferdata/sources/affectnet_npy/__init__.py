"""AffectNet's 8-label release of 2021 (AN-npy), and its form with one folder a kind (AN-va)."""
