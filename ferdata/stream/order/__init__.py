"""Which sample stands where: pure arithmetic of data set, seed, epoch and rank."""
