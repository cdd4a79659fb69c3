"""Two bundles on the same rows: paired differences, flips, speed; the ground of promotions."""
