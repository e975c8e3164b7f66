"""From a type hint to a `Spec`: the axis language, the names in it, and what cannot be enforced."""
