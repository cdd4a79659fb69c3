"""Promotion of a challenger to champion: checks of a policy, the decision and its evidence."""
