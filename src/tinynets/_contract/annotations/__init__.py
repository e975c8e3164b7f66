"""Type hint -> `Spec`: the axis language, the names in annotations, and where axes are bound."""
