"""Speed of a bundle on this machine, beside what people would use otherwise."""
