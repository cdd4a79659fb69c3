"""Forms of one trained model: built, measured on the validation split, and one chosen to ship."""
