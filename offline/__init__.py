"""The offline half of the loop: log → dataset → model → train → gate → publish."""
