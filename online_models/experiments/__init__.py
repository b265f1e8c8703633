"""What live experiments need to be right: the split of units, their statistics, off-policy evaluation, interleaving, bandits."""
